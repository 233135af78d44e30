"""E5: segments every tile of the study into labels and cells, shard by shard."""

from typing import Any

import pandas as pd
from prefect import flow, get_run_logger

from flows.naming import named
from flows.server import await_server
from somaflow.errors import InferenceError
from somaflow.inference import Inference
from somaflow.ledger import read_records
from somaflow.pending import find_pending
from somaflow.study import Study
from tasks.reporting import show_lines, show_table


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
    pending = find_pending(study, retry_quarantined)
    inference, todo = pending.inference, pending.todo
    get_run_logger().info(
        "Inference %s: %d of %d shards done, %d to do",
        *(inference.key, inference.n_shards - len(todo), inference.n_shards, len(todo)),
    )
    failures: list[str] = []
    if todo:
        from flows.shards import segment_shards  # imports all of Dask: not for a finished study

        failures = segment_shards(study, pending, site, retry_quarantined)
    await_server()
    return _conclude(study, inference, failures)


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
