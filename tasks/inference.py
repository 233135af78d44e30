"""E5 as a task: one shard, looked up if it is done, else segmented and committed.

The shard's ledger record, not a Prefect result, says that it is done: the record is checked against
the files, survives the server, and turns a recompute by Dask into a lookup too.
"""

from pathlib import Path
from typing import Any

from prefect import task

from somaflow.inference import infer_shard
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from tasks.caching import can_heal
from tasks.models import Device, segmenter_loader


@task(
    name="infer-shard",
    task_run_name="shard {shard} of {n_shards}",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
def segment_shard(
    output: Path,
    key: str,
    shard: int,
    n_shards: int,
    recipe: Recipe,
    device: Device,
    shard_tiles: int,
    pixel_offset: int,
    retry_quarantined: bool,
) -> dict[str, Any]:
    """Commits the shard and returns its counts: shard, n_tiles, n_cells, quarantined."""
    record = infer_shard(
        RunPaths(output),
        key,
        shard,
        recipe,
        load=segmenter_loader(device),
        shard_tiles=shard_tiles,
        pixel_offset=pixel_offset,
        retry_quarantined=retry_quarantined,
    )
    return {
        "shard": shard,
        "n_tiles": len(record.tiles),
        "n_cells": record.n_cells,
        "quarantined": [[tile.tile_id, tile.quarantined] for tile in record.quarantined],
    }
