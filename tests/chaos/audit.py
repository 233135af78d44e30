"""What a disturbed study holds, against one that nobody disturbed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from somaflow.errors import StoreError
from somaflow.ledger import read_plan, read_records
from somaflow.paths import RunPaths
from tests.inference.study_files import tree_digest

RESULTS = ("labels", "cells", "ledger")


Stamp = tuple[int, int]
"""By which a file is known as the one that was there before."""


def stamp_of(path: Path) -> Stamp:
    """Inode and time of a file; it is another file once it was written again."""
    seen = path.stat()
    return seen.st_ino, seen.st_mtime_ns


@dataclass(frozen=True)
class Audit:
    """Tiles that are not as they must be."""

    n_lost: int
    n_twice: int
    n_torn: int

    @property
    def is_clean(self) -> bool:
        """Whether every tile is there once, as in the undisturbed study."""
        return not (self.n_lost or self.n_twice or self.n_torn)


def audit_study(
    output: Path, reference: Path, key: str, committed: Mapping[Path, Stamp] | None = None
) -> Audit:
    """Counts tiles that are missing, there twice, or not the bytes of the reference.

    Args:
        output: of the disturbed study.
        reference: of the undisturbed one.
        key: of the inference, in both.
        committed: records that were there in the middle and must not have been written again.
    """
    paths = RunPaths(output)
    planned = read_plan(RunPaths(reference), key)
    records = read_records(paths, key)
    recorded = Counter(tile.tile_id for record in records for tile in record.tiles)
    twice = {tile_id for tile_id, count in recorded.items() if count > 1}
    cells = [pd.read_parquet(path) for path in sorted(paths.cells_folder(key).glob("*.parquet"))]
    rows = pd.concat([table[["tile_id", "label"]] for table in cells], ignore_index=True)
    twice |= set(rows.tile_id[rows.duplicated()])
    again = [path for path, stamp in (committed or {}).items() if stamp_of(path) != stamp]
    shards = {int(path.stem.split("-")[1]) for path in again}
    twice |= set(planned.tile_id[planned["shard"].isin(shards)])
    lost = set(planned.tile_id) - set(recorded)
    torn = _torn_shards(paths, RunPaths(reference), key, planned)
    n_torn = int(planned["shard"].isin(torn).sum())
    if not torn and any(tree_digest(output / p) != tree_digest(reference / p) for p in RESULTS):
        raise StoreError(f"{output} must hold the files of {reference} and no others, it does not")
    return Audit(len(lost), len(twice), n_torn)


def _torn_shards(paths: RunPaths, reference: RunPaths, key: str, planned: pd.DataFrame) -> set[int]:
    """Shards of which a file is not the bytes of the reference."""
    torn = set()
    for shard, rows in planned.groupby("shard"):
        place = int(shard), str(rows["array"].iloc[0]), int(rows["index"].iloc[0])
        pairs = zip(_files(paths, key, *place), _files(reference, key, *place), strict=True)
        if any(not mine.exists() or mine.read_bytes() != its.read_bytes() for mine, its in pairs):
            torn.add(int(shard))
    return torn


def _files(paths: RunPaths, key: str, shard: int, array: str, index: int) -> list[Path]:
    return [paths.label_shard(key, array, index), paths.cells(key, shard), paths.record(key, shard)]
