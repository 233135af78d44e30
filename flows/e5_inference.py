"""E5: segments every tile of the study into labels and cells, shard by shard."""

from typing import Any

import pandas as pd
from prefect import flow, get_run_logger

from flows.endings import end_own_parts
from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.server import await_server
from flows.turns import study_to_itself
from somaflow.claims import IfBusy
from somaflow.engine import Profile
from somaflow.errors import InferenceError
from somaflow.ledger import read_records
from somaflow.pending import Pending, find_pending
from somaflow.study import Study
from tasks.privacy import private
from tasks.reporting import show_lines, show_table


@flow(
    name="e5-inference",
    flow_run_name=named("segment all of"),
    on_cancellation=[end_own_parts],
    on_crashed=[end_own_parts],
)
@private
def e5_inference(
    study: StudyOrPath,
    site: str = "laptop",
    retry_quarantined: bool = False,
    if_busy: IfBusy = "wait",
    profile: bool = False,
) -> dict[str, Any]:
    """Segments all usable tiles with the study's inference recipes; finished shards are kept.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run: `laptop`, `slurm`, or the path of a site file.
        retry_quarantined: Try tiles again that an earlier run set aside.
        if_busy: If another run segments this study now: wait until that has ended, or refuse.
        profile: Also print where the time went; the dashboard shows it in any case.
    """
    announce_outputs(study)
    with study_to_itself(study, if_busy):
        return _segment(study, site, retry_quarantined, profile)


def _segment(
    study: Study, site: str, retry_quarantined: bool, prints_profile: bool
) -> dict[str, Any]:
    pending = [
        find_pending(study, recipe_name, retry_quarantined)
        for recipe_name in study.inference_recipes
    ]
    for one in pending:
        n_shards = one.inference.n_shards
        get_run_logger().info(
            "Inference %s (%s): %d of %d shards done, %d to do",
            *(one.inference.key, one.recipe.name, n_shards - len(one.todo), n_shards),
            len(one.todo),
        )
    failures: list[str] = []
    profile = Profile()
    if any(one.todo for one in pending):
        from flows.shards import segment_all  # imports all of Dask: not for a finished study

        failures = segment_all(study, pending, site, retry_quarantined, profile)
    await_server()
    if profile.n_tiles:
        show_table("profile", profile.table(), f"Where the time went. {profile.bound()}")
    if prints_profile:
        print(profile.describe(), flush=True)
    return _conclude(study, pending, failures)


def _conclude(study: Study, pending: list[Pending], failures: list[str]) -> dict[str, Any]:
    counts = [_count(study, one) for one in pending]
    rows = pd.DataFrame(counts)
    show_table("inference", rows, f"Inference of {study.name}")
    quarantined = [
        f"{tile.tile_id}: {tile.quarantined}"
        for one in pending
        for record in read_records(study.paths, one.inference.key)
        for tile in record.quarantined
    ]
    if quarantined:
        show_lines("tiles-quarantined", f"{len(quarantined)} tile(s) quarantined", quarantined)
        get_run_logger().warning("Quarantined:\n%s", "\n".join(quarantined))
    if failures:
        raise InferenceError(
            "\n".join(
                [
                    f"{len(failures)} of {rows.shards.sum()} shards failed, the others are kept; "
                    "mend the cause and run again:",
                    *failures,
                ]
            )
        )
    for key in rows["key"]:
        get_run_logger().info("Labels in %s", study.paths.labels(key))
    return {**counts[0], "keys": {count["recipe"]: count["key"] for count in counts}}


def _count(study: Study, pending: Pending) -> dict[str, Any]:
    inference = pending.inference
    records = read_records(study.paths, inference.key)
    return {
        "recipe": pending.recipe.name,
        "key": inference.key,
        "shards_done": len(records),
        "shards": inference.n_shards,
        "tiles": inference.n_tiles,
        "quarantined": sum(len(record.quarantined) for record in records),
        "cells": sum(record.n_cells for record in records),
    }
