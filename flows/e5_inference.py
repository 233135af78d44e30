"""E5: segments every tile of the study into labels and cells, shard by shard."""

from typing import Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture, as_completed

from flows.naming import named
from flows.sites import dask_runner
from somaflow.errors import InferenceError
from somaflow.inference import Inference, plan_inference
from somaflow.inventory import inference_tiles, read_tiles
from somaflow.keys import fingerprint_files
from somaflow.ledger import read_plan, read_records, unfinished_shards
from somaflow.recipebook import find_recipe
from somaflow.recipes import Recipe
from somaflow.segmenter import weights_sha256
from somaflow.study import Study
from tasks.inference import segment_shard
from tasks.reporting import Progress, show_lines, show_table


@flow(name="e5-inference", flow_run_name=named("segment all of"))
def e5_inference(
    study: Study, site: str = "laptop", retry_quarantined: bool = False
) -> dict[str, Any]:
    """Segments all usable tiles with the study's inference recipe; finished shards are kept.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run.
        retry_quarantined: Try tiles again that an earlier run set aside.
    """
    recipe = find_recipe(study, study.inference_recipe)
    inference = _plan(study, recipe)
    plan = read_plan(study.paths, inference.key)
    todo = unfinished_shards(study.paths, inference.key, plan, retry_quarantined)
    n_done = inference.n_shards - len(todo)
    get_run_logger().info(
        "Inference %s: %d of %d shards done, %d to do",
        inference.key,
        n_done,
        inference.n_shards,
        len(todo),
    )
    failures = _segment(study, recipe, inference, plan, todo, site, retry_quarantined)
    return _conclude(study, inference, failures)


def _plan(study: Study, recipe: Recipe) -> Inference:
    tiles = inference_tiles(read_tiles(study.paths))
    usable = tiles[tiles.status == "ok"]
    files = usable[["dapi_path", "marker_path"]].to_numpy().ravel()
    return plan_inference(
        study.paths,
        usable,
        recipe,
        weights_sha256,
        fingerprint_files(files, study.paths.fingerprints),
        study.shard_tiles,
        study.tiles.pixel_offset,
    )


def _segment(
    study: Study,
    recipe: Recipe,
    inference: Inference,
    plan: pd.DataFrame,
    todo: list[int],
    site: str,
    retry_quarantined: bool,
) -> list[str]:
    """Runs the unfinished shards; one that fails does not stop the others. Returns failures."""
    failures: list[str] = []
    if not todo:
        return failures
    sizes = plan.groupby("shard").size()
    progress = Progress("Tiles segmented", total=int(sizes[todo].sum()), unit="tiles")
    with dask_runner(site, study.output, most_workers=len(todo)) as runner:
        shard_of: dict[PrefectFuture[Any], int] = {}
        for shard in todo:
            parameters = {
                "output": study.output,
                "key": inference.key,
                "shard": shard,
                "n_shards": inference.n_shards,
                "recipe": recipe,
                "device": study.device,
                "shard_tiles": study.shard_tiles,
                "pixel_offset": study.tiles.pixel_offset,
                "retry_quarantined": retry_quarantined,
            }
            shard_of[runner.submit(segment_shard, **parameters)] = shard
        for future in as_completed(list(shard_of)):
            shard = shard_of.pop(future)  # let go of its result
            try:
                result = future.result()
            except Exception as error:  # noqa: BLE001 - listed below, and the flow fails with them
                failures.append(f"shard {shard}: {type(error).__name__}: {error}")
                continue
            progress.advance(result["n_tiles"], note=f"{result['n_cells']} cells in last shard")
    progress.close()
    return failures


def _conclude(study: Study, inference: Inference, failures: list[str]) -> dict[str, Any]:
    records = read_records(study.paths, inference.key)
    quarantined = [
        f"{tile.tile_id}: {tile.quarantined}" for record in records for tile in record.quarantined
    ]
    n_cells = sum(record.n_cells for record in records)
    row = {
        "shards_done": len(records),
        "shards": inference.n_shards,
        "tiles": inference.n_tiles,
        "quarantined": len(quarantined),
        "cells": n_cells,
    }
    show_table("inference", pd.DataFrame([row]), f"Inference {inference.key}")
    if quarantined:
        show_lines("tiles-quarantined", f"{len(quarantined)} tile(s) quarantined", quarantined)
        get_run_logger().warning("Quarantined:\n%s", "\n".join(quarantined))
    if failures:
        raise InferenceError(
            "\n".join(
                [
                    f"{len(failures)} of {inference.n_shards} shards failed, the others are kept; "
                    "mend the cause and run again:",
                    *failures,
                ]
            )
        )
    get_run_logger().info("Labels in %s", study.paths.labels(inference.key))
    return {"key": inference.key, **row}
