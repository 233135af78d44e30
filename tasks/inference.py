"""E5 as a task: one shard, looked up if it is done, else segmented on a worker and committed.

The task waits in the flow's process while a worker of the site does the work as a plain function:
nodes need the scheduler alone, and a worker's death is seen here, where something can be done.

The shard's ledger record, not a Prefect result, says that it is done: the record is checked against
the files, survives the server, and turns a recompute by Dask into a lookup too.
"""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from distributed import get_worker, secede
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from somaflow.engine import Profile
from somaflow.errors import InferenceError, WorkerLimitError
from somaflow.inference import infer_shard, try_tile
from somaflow.ledger import read_plan
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from tasks.caching import can_heal
from tasks.models import Device, worker_engine
from tasks.privacy import discreet
from tasks.workers import Workers, WorkersDied, time_left

# A worker's log shows what is below this logger of Dask.
_WORKER_LOG = logging.getLogger("distributed.worker").getChild("somaflow")
# A shard is started only where there is this much of the time left that the slowest one took.
_MARGIN = 1.5
# Work ends by itself so long before its worker would be taken from it.
_LAST_SECONDS_S = 5.0
_MOST_STOPS = 3
# One shard of a worker may be at its last tiles or being written while the next one is begun.
_ENDING = threading.Lock()


@dataclass(frozen=True)
class Work:
    """What the shards of one inference have in common."""

    output: Path
    key: str
    n_shards: int
    recipe: Recipe
    device: Device
    shard_tiles: int
    pixel_offset: int
    retry_quarantined: bool


@dataclass(frozen=True)
class ShardDone:
    """A committed shard, and who did it in how long."""

    n_tiles: int
    n_cells: int
    n_quarantined: int
    seconds: float
    worker: str
    profile: Profile


@dataclass(frozen=True)
class _Stopped:
    """A shard that was not committed, because its worker's time is over."""

    address: str
    lifetime_s: float
    spent_s: float


class Pace:
    """How long shards take; shared by the tasks of a flow."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.slowest_s = 0.0

    def note(self, seconds: float) -> None:
        """Counts a shard."""
        self.slowest_s = max(self.slowest_s, seconds)


@task(
    name="infer-shard",
    task_run_name="shard {shard} of {work.n_shards}",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
    cache_policy=NO_CACHE,  # the ledger knows what is done
)
@discreet
def segment_shard(work: Work, shard: int, workers: Workers, pace: Pace) -> ShardDone:
    """Has a worker commit the shard, tiles that kill workers being set aside."""
    logger = get_run_logger()
    try:
        done = _commit(work, shard, workers, pace, {})
    except WorkersDied as error:
        logger.warning("Shard %d: %s; trying its tiles one by one", shard, error)
        deadly = _find_deadly_tiles(work, shard, workers)
        try:
            done = _commit(work, shard, workers, pace, deadly)
        except WorkersDied as again:
            raise InferenceError(_too_small(work, shard)) from again
    log = workers.log_of(done.worker)
    logger.info(
        "%d tiles, %d cells, %d quarantined in %.1f s on %s%s",
        *(done.n_tiles, done.n_cells, done.n_quarantined, done.seconds, done.worker),
        f", log {log}" if log else "",
    )
    return done


def _commit(
    work: Work, shard: int, workers: Workers, pace: Pace, set_aside: dict[str, str]
) -> ShardDone:
    """Gives the shard to workers until one has the time for it.

    Raises:
        WorkerLimitError: if workers do not live as long as the shard takes.
    """
    n_stops = 0
    while True:
        needed_s = _MARGIN * pace.slowest_s
        done = workers.compute(f"shard-{shard}", _infer, work, shard, set_aside, needed_s)
        if isinstance(done, ShardDone):
            pace.note(done.seconds)
            return done
        workers.retire(done.address)
        n_stops += done.spent_s > _LAST_SECONDS_S
        if n_stops == _MOST_STOPS:
            raise WorkerLimitError(
                f"a shard must be done within a worker's life of {done.lifetime_s:.0f} s, shard "
                f"{shard} of {work.shard_tiles} tiles was not, {n_stops} times; raise walltime of "
                "the site, or lower shard_tiles of the study"
            )


def _find_deadly_tiles(work: Work, shard: int, workers: Workers) -> dict[str, str]:
    """Reasons, by tile_id, to set tiles aside: those that kill workers one by one too.

    Raises:
        WorkerLimitError: if the first ones all do.
        InferenceError: if none does; that may have been chance, and is tried again.
    """
    plan = read_plan(RunPaths(work.output), work.key)
    tile_ids = plan.tile_id[plan.shard == shard].tolist()
    deadly: dict[str, str] = {}
    for n_tried, tile_id in enumerate(tile_ids):
        try:
            workers.compute(f"tile-{shard}-{n_tried}", _try, work, tile_id)
        except WorkersDied:
            deadly[tile_id] = "its worker died on it, again and again (out of memory?)"
        if len(deadly) == _MOST_STOPS == n_tried + 1:
            raise WorkerLimitError(
                f"a worker must live through some tile, those of shard {shard} died on each of "
                f"the first {len(deadly)}; give workers more memory (memory_gb of the site)"
            )
    if len(tile_ids) > 1 and not deadly:
        raise InferenceError(_too_small(work, shard))
    return deadly


def _too_small(work: Work, shard: int) -> str:
    return (
        f"a worker must hold a shard of {work.shard_tiles} tiles, those of shard {shard} died on "
        "it, and on none of the tiles alone that were left; give workers more memory (memory_gb "
        "of the site), or lower shard_tiles of the study"
    )


class _TimeIsOver(Exception):
    """Leaves a shard in the middle."""


def _infer(
    work: Work, shard: int, set_aside: dict[str, str], needed_s: float
) -> ShardDone | _Stopped:
    """On a worker: commits the shard, or stops before the worker's time is over."""
    started, begun, profile = time.monotonic(), False, Profile()
    engine, is_ending = worker_engine(work.recipe, work.device), False

    def check() -> None:
        nonlocal begun
        if (left := time_left()) is not None:
            left_s, lifetime_s = left
            # A worker that has most of its life before it tries what takes longer, too.
            least_s = _LAST_SECONDS_S if begun else min(needed_s, lifetime_s / 2)
            if left_s < least_s:
                raise _TimeIsOver
        begun = True

    def make_room() -> None:
        nonlocal is_ending
        # An engine of one tile at a time has none; nor may shards pile up that a disk is slow with.
        if engine.n_workers > 1 and _ENDING.acquire(blocking=False):
            is_ending = True
            secede()

    stopped: _Stopped | None = None
    try:
        record = infer_shard(
            RunPaths(work.output),
            work.key,
            shard,
            work.recipe,
            engine=engine,
            shard_tiles=work.shard_tiles,
            pixel_offset=work.pixel_offset,
            retry_quarantined=work.retry_quarantined,
            set_aside=set_aside,
            before_tile=check,
            nearly_done=make_room,
            profile=profile,
        )
    except _TimeIsOver:
        _, lifetime_s = time_left() or (0.0, 0.0)
        stopped = _Stopped(get_worker().address, lifetime_s, time.monotonic() - started)
    finally:
        if is_ending:
            _ENDING.release()
    if stopped is not None:
        _WORKER_LOG.info("shard %d is left to another, this worker's time is over", shard)
        with _ENDING:  # the worker is let go now, but not in the midst of writing
            return stopped
    _WORKER_LOG.info("shard %d of %d is committed", shard, work.n_shards)
    return ShardDone(
        n_tiles=len(record.tiles),
        n_cells=record.n_cells,
        n_quarantined=len(record.quarantined),
        seconds=time.monotonic() - started,
        worker=str(get_worker().name),
        profile=profile,
    )


def _try(work: Work, tile_id: str) -> None:
    """On a worker: segments one tile, whatever becomes of it."""
    engine = worker_engine(work.recipe, work.device)
    try_tile(RunPaths(work.output), work.key, tile_id, work.recipe, engine, work.pixel_offset)
