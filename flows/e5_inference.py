"""E5: segments every tile of the study into labels and cells, shard by shard."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture

from flows.naming import named
from flows.server import await_server
from flows.sites import Runner, dask_runner
from somaflow.errors import DeviceError, InferenceError, OutputError, SiteError
from somaflow.inference import Inference
from somaflow.ledger import read_records
from somaflow.pending import find_pending
from somaflow.study import Study
from tasks.inference import Pace, ShardDone, Work, segment_shard
from tasks.reporting import Progress, show_lines, show_table

# One at work on each worker and one waiting for it.
_SHARDS_A_WORKER = 2


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
    work = Work(
        output=study.output,
        key=inference.key,
        n_shards=inference.n_shards,
        recipe=pending.recipe,
        device=study.device,
        shard_tiles=study.shard_tiles,
        pixel_offset=study.tiles.pixel_offset,
        retry_quarantined=retry_quarantined,
    )
    failures = _segment(work, todo, pending.plan.groupby("shard").size(), site) if todo else []
    await_server()
    return _conclude(study, inference, failures)


def _segment(work: Work, todo: list[int], sizes: "pd.Series[int]", site: str) -> list[str]:
    """Runs the unfinished shards; one that fails does not stop the others.

    Returns:
        A line for each shard that failed.

    Raises:
        OutputError: or any other of what would fail them all; no more shards are started then.
    """
    failures: list[str] = []
    n_tiles, n_before = int(sizes.sum()), int(sizes.sum() - sizes[todo].sum())
    progress = Progress("Tiles segmented", total=n_tiles, unit="tiles", done=n_before)
    n_quarantined = 0
    with closing(progress), dask_runner(site, work.output, most_workers=len(todo)) as runner:
        runner.start()
        for shard, future in _run_few_at_once(work, todo, runner):
            try:
                done: ShardDone = future.result()
            except SiteError as error:
                raise SiteError(f"{error}; finished shards are kept, run again") from error
            except (OutputError, DeviceError):
                raise  # what fails one shard like this fails them all
            except Exception as error:  # noqa: BLE001 - listed, and the flow fails with the list
                failures.append(f"shard {shard}: {type(error).__name__}: {error}")
                get_run_logger().error(failures[-1])
                continue
            n_quarantined += done.n_quarantined
            progress.advance(done.n_tiles, note=f"{n_quarantined} quarantined")
    return failures


def _run_few_at_once(
    work: Work, todo: list[int], runner: Runner
) -> Iterator[tuple[int, PrefectFuture[Any]]]:
    """Each shard's number and its finished task, as they finish; a waiting task costs a thread."""
    finished: SimpleQueue[tuple[int, PrefectFuture[Any]]] = SimpleQueue()
    waiting, pace, n_running = iter(todo), Pace(), 0
    while True:
        while n_running < _SHARDS_A_WORKER * runner.most_at_once:
            if (shard := next(waiting, None)) is None:
                break
            future = segment_shard.submit(work, shard, runner, pace)
            future.add_done_callback(partial(_note, finished, shard))
            n_running += 1
        if not n_running:
            return
        yield finished.get()
        n_running -= 1


def _note(
    finished: SimpleQueue[tuple[int, PrefectFuture[Any]]], shard: int, future: PrefectFuture[Any]
) -> None:
    finished.put((shard, future))


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
