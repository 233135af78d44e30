"""Small tables of prepared tiles and of counts."""

import numpy as np
import pandas as pd


def prepared_tiles(n_tiles: dict[tuple[str, str], int]) -> pd.DataFrame:
    """Prepared tiles: (marker, split) to their number; ids say both, a donor has two tiles."""
    rows = [
        {
            "tile_id": f"{marker}-{split}-{index:02d}",
            "donor": f"{split}-{index // 2}",
            "marker": marker,
            "split": split,
            "split_level": "donor",
        }
        for (marker, split), n in n_tiles.items()
        for index in range(n)
    ]
    return pd.DataFrame(rows, columns=["tile_id", "donor", "marker", "split", "split_level"])


def random_counts(tiles: pd.DataFrame, recipes: list[str], seed: int = 0) -> pd.DataFrame:
    """Counts of every recipe on every tile; each tile has the same reference for all recipes."""
    rng = np.random.default_rng(seed)
    n_reference = rng.integers(1, 20, size=len(tiles))
    frames = []
    for recipe in recipes:
        tp = rng.binomial(n_reference, 0.6)
        fp = rng.integers(0, 8, size=len(tiles))
        frames.append(tiles.assign(recipe=recipe, tp=tp, fp=fp, fn=n_reference - tp))
    return pd.concat(frames, ignore_index=True)
