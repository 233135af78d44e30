"""The plan of an inference and the commit record of each of its shards.

A shard is done when its record is there and the checksums in it hold: labels are written first,
cells second, the record last. Records hold no time and no host name, so a rerun writes the same
bytes as an uninterrupted run.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from somaflow.errors import SchemaError, StoreError
from somaflow.files import write_bytes, write_text
from somaflow.paths import RunPaths
from somaflow.schema import INFERENCE, PLAN, SHARD, check_stamp, make_stamp
from somaflow.stamps import encode_table, read_table

_N_READERS = 8
# Rows are in order of shard, so a worker reads the few groups that its shard lies in.
_PLAN_ROWS = 4096


@dataclass(frozen=True)
class TileRecord:
    """What became of one tile."""

    tile_id: str
    n_cells: int
    quarantined: str = ""
    """Why the tile has no labels; empty for a tile that was segmented."""


@dataclass(frozen=True)
class ShardRecord:
    """The commit record of a shard."""

    key: str
    shard: int
    array: str
    index: int
    device: str
    labels_sha256: str
    cells_sha256: str
    tiles: tuple[TileRecord, ...]
    schema_version: int = SHARD.version
    """No release beside it: whichever commits a shard, writes the same record."""

    @property
    def n_cells(self) -> int:
        """Cells in all tiles of the shard."""
        return sum(tile.n_cells for tile in self.tiles)

    @property
    def quarantined(self) -> tuple[TileRecord, ...]:
        """Tiles that were set aside, with their reasons."""
        return tuple(tile for tile in self.tiles if tile.quarantined)


def plan_shards(tiles: pd.DataFrame, shard_tiles: int) -> pd.DataFrame:
    """Assigns each tile its array (one a tile shape), its place there and its shard.

    Args:
        tiles: tile table; the order of its rows does not matter.
        shard_tiles: tiles per shard.

    Returns:
        The table sorted by shape and tile_id, with columns `array` ("1040x1388"), `position` (row
        in the array), `index` (shard within the array) and `shard` (number over all arrays).
    """
    plan = tiles.sort_values(["height_px", "width_px", "tile_id"]).reset_index(drop=True)
    plan["array"] = plan.height_px.astype(str) + "x" + plan.width_px.astype(str)
    plan["position"] = plan.groupby("array", sort=False).cumcount()
    plan["index"] = plan.position // shard_tiles
    plan["shard"] = plan.groupby(["array", "index"], sort=False).ngroup()
    return plan


def write_plan(paths: RunPaths, key: str, plan: pd.DataFrame, run: dict[str, object]) -> None:
    """Writes the plan and what the inference is (recipe, weights, versions), once for a key."""
    text = json.dumps({**make_stamp(INFERENCE), "key": key, **run}, indent=2) + "\n"
    write_text(paths.run_record(key), text)
    content = encode_table(PLAN, plan, row_group_size=_PLAN_ROWS)
    write_bytes(paths.plan(key), content)


def read_plan(paths: RunPaths, key: str, shard: int | None = None) -> pd.DataFrame:
    """The plan of an inference, or the rows of one shard of it.

    Raises:
        StoreError: if there is none under that key.
        SchemaError: if a newer somaflow wrote it.
    """
    path = paths.plan(key)
    if not path.exists():
        raise StoreError(f"inference must have a plan, found none at {path}; run e5-inference")
    filters = None if shard is None else [("shard", "==", shard)]
    return read_table(PLAN, path, filters=filters)


def read_run(paths: RunPaths, key: str) -> dict[str, Any]:
    """What an inference is: recipe, weights, pixel offset, versions.

    Raises:
        StoreError: if that is not there or not JSON.
        SchemaError: if a newer somaflow wrote it.
    """
    path = paths.run_record(key)
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise StoreError(
            f"inference must say what it is in {path}, which cannot be read ({error}); "
            "run e5-inference again"
        ) from error
    check_stamp(INFERENCE, path, content)
    return content


def write_record(paths: RunPaths, record: ShardRecord) -> None:
    """Commits the shard: from here on it is done."""
    text = json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n"
    write_text(paths.record(record.key, record.shard), text)


def read_record(path: Path) -> ShardRecord | None:
    """The record at `path`; None where there is none.

    Raises:
        StoreError: if the file is not a record.
        SchemaError: if a newer somaflow wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_stamp(SHARD, path, content)
        tiles = tuple(TileRecord(**tile) for tile in content.pop("tiles"))
        return ShardRecord(**content, tiles=tiles)
    except FileNotFoundError:
        return None
    except SchemaError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"ledger record must be JSON that somaflow wrote, {path} is not ({error}); "
            "run e5-inference again, which does that shard anew"
        ) from error


def read_records(paths: RunPaths, key: str) -> list[ShardRecord]:
    """All commit records of an inference, in order of shard."""
    files = sorted(paths.ledger(key).glob("shard-*.json"))
    return [record for path in files if (record := read_record(path)) is not None]


def is_complete(paths: RunPaths, key: str) -> bool:
    """Whether every shard has a record, whatever it holds; a glance, no check."""
    n_shards = read_table(PLAN, paths.plan(key), columns=["shard"])["shard"].nunique()
    return len(list(paths.ledger(key).glob("shard-*.json"))) == n_shards


def verified_record(paths: RunPaths, key: str, shard: int) -> ShardRecord | None:
    """The shard's record if its labels and cells on disk are what it says, else None.

    Raises:
        SchemaError: if a newer somaflow committed the shard, which must not be done again then.
    """
    try:
        record = read_record(paths.record(key, shard))
    except StoreError:
        return None  # torn or foreign: the shard is done again, and the record replaced
    if record is None or record.key != key:
        return None
    files = {
        paths.label_shard(key, record.array, record.index): record.labels_sha256,
        paths.cells(key, shard): record.cells_sha256,
    }
    holds = all(path.exists() and _digest(path) == sha256 for path, sha256 in files.items())
    return record if holds else None


def unfinished_shards(
    paths: RunPaths, key: str, plan: pd.DataFrame, retry_quarantined: bool = False
) -> list[int]:
    """Numbers of the shards that have to be done (again), in order.

    Args:
        paths: of the study.
        key: of the inference.
        plan: from `plan_shards`.
        retry_quarantined: also those with quarantined tiles.
    """
    shards = [int(shard) for shard in sorted(plan["shard"].unique())]
    with ThreadPoolExecutor(_N_READERS) as pool:  # reading and hashing release the GIL
        records = list(pool.map(lambda shard: verified_record(paths, key, shard), shards))
    return [
        shard
        for shard, record in zip(shards, records, strict=True)
        if record is None or (retry_quarantined and record.quarantined)
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
