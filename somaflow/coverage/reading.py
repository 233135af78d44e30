"""The coverage of a study from its files: tile table, plan, commit records, expected tiles."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from somaflow.coverage.audit import Coverage, audit_coverage
from somaflow.errors import StudyError
from somaflow.inventory import inference_tiles, read_tiles
from somaflow.ledger import ShardRecord, read_plan, read_records
from somaflow.paths import RunPaths
from somaflow.tiles.donor_tables import read_csv
from somaflow.tiles.table import spell_marker

_EXPECTED_COLUMNS = ("donor", "marker", "tiles")


def read_coverage(
    paths: RunPaths,
    key: str | None = None,
    expected: Path | str | None = None,
    quality: pd.DataFrame | None = None,
    traits: pd.DataFrame | None = None,
) -> Coverage:
    """The coverage of a study as its files are.

    Args:
        paths: of the study, in which e0-prepare has run.
        key: of the inference of any recipe; None before the first one.
        expected: CSV with donor, marker, tiles; None where nobody says what should be there.
        quality: as for `audit_coverage`.
        traits: as for `audit_coverage`.

    Raises:
        StudyError: if there is no tile table, or `expected` is not such a file.
        StoreError: if there is no inference of that key, or a record of it is damaged.
    """
    return audit_coverage(
        inference_tiles(read_tiles(paths)),
        records=None if key is None else tabulate_records(read_records(paths, key)),
        plan=None if key is None else read_plan(paths, key),
        expected=None if expected is None else read_expected(expected),
        quality=quality,
        traits=traits,
    )


def tabulate_records(records: Iterable[ShardRecord]) -> pd.DataFrame:
    """A row a tile of the commit records: tile_id, n_cells, quarantined ("" or the reason)."""
    rows = [
        (tile.tile_id, tile.n_cells, tile.quarantined)
        for record in records
        for tile in record.tiles
    ]
    return pd.DataFrame(rows, columns=["tile_id", "n_cells", "quarantined"])


def read_expected(path: Path | str) -> pd.DataFrame:
    """How many tiles each donor should have of each marker.

    Args:
        path: CSV with the columns donor, marker and tiles.

    Returns:
        donor (text), marker (canonical spelling), tiles (int64).

    Raises:
        StudyError: with a line for every row that cannot be used.
    """
    path = Path(path)
    rows, problems = [], []
    for line, row in read_csv(path, _EXPECTED_COLUMNS, "table of expected tiles"):
        donor, marker, tiles = (row.get(name, "") for name in _EXPECTED_COLUMNS)
        if not donor and not marker and not tiles:
            continue
        if donor and marker and tiles.isascii() and tiles.isdigit():
            rows.append((donor, spell_marker(marker), int(tiles)))
        else:
            problems.append(
                f"line {line} must have a donor, a marker and a whole number of tiles, found "
                f"{donor!r}, {marker!r} and {tiles!r}"
            )
    if problems or not rows:
        raise StudyError(
            f"{path}, the table of expected tiles, must be corrected:\n"
            + "\n".join(problems or ["it has no row"])
        )
    return pd.DataFrame(rows, columns=list(_EXPECTED_COLUMNS))
