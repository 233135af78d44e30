"""What a finished inference left on the disk, and whether every tile is in it once."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd

from somaflow.ledger import read_plan, read_records
from somaflow.paths import RunPaths


class WrongTiles(Exception):
    """Tiles are missing, twice, or set aside."""


def check_tiles(paths: RunPaths, key: str, n_tiles: int) -> dict[str, int]:
    """Counts of tiles, shards and cells, when plan, records and cells agree on every tile.

    Raises:
        WrongTiles: if a tile of the study is missing, twice or quarantined, or its cells are.
    """
    plan, records = read_plan(paths, key), read_records(paths, key)
    found = Counter(tile.tile_id for record in records for tile in record.tiles)
    missing = sorted(set(plan.tile_id) - set(found))
    twice = sorted(tile_id for tile_id, count in found.items() if count > 1)
    aside = [tile.tile_id for record in records for tile in record.quarantined]
    wrong = {"missing": missing, "twice": twice, "quarantined": aside}
    if any(wrong.values()) or plan.tile_id.nunique() != n_tiles or len(found) != n_tiles:
        counts = ", ".join(f"{len(tiles)} {what}" for what, tiles in wrong.items())
        raise WrongTiles(f"{n_tiles} tiles must be there once, found {len(found)}: {counts}")
    recorded = {tile.tile_id: tile.n_cells for record in records for tile in record.tiles}
    _check_cells(paths, key, recorded)
    return {"tiles": n_tiles, "shards": len(records), "cells": sum(recorded.values())}


def measure_outputs(paths: RunPaths, key: str) -> dict[str, dict[str, int]]:
    """Bytes and number of files of labels, cells, ledger, and all outputs (with Prefect's)."""
    folders = {
        "labels": paths.labels(key),
        "cells": paths.cells_folder(key),
        "ledger": paths.ledger(key),
        "prefect": paths.output / "prefect",
        "output": paths.output,
    }
    return {name: _measure(folder) for name, folder in folders.items()}


def find_key(paths: RunPaths) -> str:
    """The key of the study's one inference."""
    (key,) = paths.inference_keys()
    return key


def _check_cells(paths: RunPaths, key: str, recorded: dict[str, int]) -> None:
    cells = pd.read_parquet(paths.cells_folder(key), columns=["tile_id"])
    counted = Counter(cells.tile_id)
    wrong = [tile_id for tile_id, n_cells in recorded.items() if counted[tile_id] != n_cells]
    if wrong or sum(recorded.values()) != len(cells):
        raise WrongTiles(
            f"cells must be as many as recorded, {len(wrong)} tiles differ: {json.dumps(wrong[:5])}"
        )


def _measure(folder: Path) -> dict[str, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}
