"""The shards of an inference over the workers of a site, few at a time."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from typing import Any

from prefect import get_run_logger
from prefect.futures import PrefectFuture

from flows.sites import Runner, dask_runner
from somaflow.engine import Profile
from somaflow.errors import DeviceError, OutputError, SiteError
from somaflow.pending import Pending
from somaflow.study import Study
from tasks.inference import Pace, ShardDone, Work, segment_shard
from tasks.reporting import Progress

# One at work on each worker and one waiting for it.
_SHARDS_A_WORKER = 2


def segment_all(
    study: Study, pending: Sequence[Pending], site: str, retry_quarantined: bool, profile: Profile
) -> list[str]:
    """Runs the unfinished shards of each inference in turn, all on one cluster.

    Args:
        study: whose tiles.
        pending: what is to be done; two recipes that come to the same work do it once.
        site: where.
        retry_quarantined: try tiles again that an earlier run set aside.
        profile: is told where the time of the shards went.

    Returns:
        A line for each shard that failed.

    Raises:
        OutputError: or any other of what would fail them all; no more shards are started then.
    """
    unfinished = {one.inference.key: one for one in pending if one.todo}
    most_workers = max(len(one.todo) for one in unfinished.values())
    failures: list[str] = []
    with dask_runner(site, study.output, most_workers) as runner:
        runner.start()
        for one in unfinished.values():
            failures += _segment_shards(study, one, runner, retry_quarantined, profile)
    return failures


def _segment_shards(
    study: Study, pending: Pending, runner: Runner, retry_quarantined: bool, profile: Profile
) -> list[str]:
    """Runs the unfinished shards; one that fails does not stop the others."""
    work = Work(
        output=study.output,
        key=pending.inference.key,
        n_shards=pending.inference.n_shards,
        recipe=pending.recipe,
        device=study.device,
        shard_tiles=study.shard_tiles,
        pixel_offset=study.tiles.pixel_offset,
        retry_quarantined=retry_quarantined,
    )
    todo, sizes = pending.todo, pending.plan.groupby("shard").size()
    failures: list[str] = []
    n_tiles, n_before = int(sizes.sum()), int(sizes.sum() - sizes[todo].sum())
    is_main = pending.recipe.name == study.inference_recipe
    title = "Tiles segmented" if is_main else f"Tiles segmented with {pending.recipe.name}"
    progress = Progress(title, total=n_tiles, unit="tiles", done=n_before)
    n_quarantined = 0
    with closing(progress):
        for shard, future in _run_few_at_once(work, todo, runner):
            try:
                done: ShardDone = future.result()
            except SiteError as error:
                raise SiteError(f"{error}; finished shards are kept, run again") from error
            except (OutputError, DeviceError):
                raise  # what fails one shard like this fails them all
            except Exception as error:  # noqa: BLE001 - listed, and the flow fails with the list
                failures.append(
                    f"{pending.recipe.name}, shard {shard}: {type(error).__name__}: {error}"
                )
                get_run_logger().error(failures[-1])
                continue
            n_quarantined += done.n_quarantined
            profile.add(done.profile)
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
