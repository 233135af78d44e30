"""Tile tables for the tests of splits."""

import numpy as np
import pandas as pd

MARKERS = ("GFAP", "IBA1", "NeuN", "OLIG2")
FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def tabulate(counts: list[tuple[str, str, int]]) -> pd.DataFrame:
    """A tile table from (donor, marker, number of tiles)."""
    rows = [
        {"tile_id": f"{donor}/{marker}-{index}", "donor": donor, "marker": marker}
        for donor, marker, n in counts
        for index in range(n)
    ]
    return pd.DataFrame(rows, columns=["tile_id", "donor", "marker"])


def tabulate_study(seed: int = 0) -> pd.DataFrame:
    """120 labelled tiles, 30 a marker, of up to 69 donors drawn at random."""
    rng = np.random.default_rng(seed)
    counts = [(f"{rng.integers(69):08d}", marker, 1) for marker in MARKERS for _ in range(30)]
    table = tabulate(counts)
    return table.assign(tile_id=[f"t{index:03d}" for index in range(len(table))])


def tabulate_even(n_donors: int = 10) -> pd.DataFrame:
    """Donors with one tile of each marker."""
    return tabulate(
        [(f"d{donor:02d}", marker, 1) for donor in range(n_donors) for marker in MARKERS]
    )
