"""Runs tasks on a site's Dask cluster, which starts with the first task and ends with the flow."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import dask
from prefect import Task
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture
from prefect.logging.handlers import APILogWorker
from prefect_dask.task_runners import DaskTaskRunner

from infra.clusters import DASK_CONFIG, runner_arguments
from infra.specs import load_site
from tasks.workers import StopTrainings

_LAST_WORDS_LIMIT_S = 20


class Runner:
    """A site's Dask cluster, started by the first task: a finished experiment starts none."""

    def __init__(self, site: str, output: Path, most_workers: int | None, stack: ExitStack) -> None:
        """Starts nothing yet; made by `dask_runner`."""
        self.site = site
        self._arguments = runner_arguments(load_site(site), output, most_workers)
        self._stack = stack
        self._runner: DaskTaskRunner | None = None

    def submit(self, task: Task[Any, Any], **parameters: Any) -> PrefectFuture[Any]:
        """Submits the task, to a cluster that starts now if none has."""
        if self._runner is None:
            self._runner = self._stack.enter_context(_start_cluster(self._arguments))
        return self._runner.submit(task, parameters=parameters)

    def run(self, task: Task[Any, Any], **parameters: Any) -> Any:
        """Runs one task on the cluster and returns its result; a failed task raises."""
        return self.submit(task, **parameters).result()


_SHARED: ContextVar[Runner | None] = ContextVar("shared runner", default=None)


@contextmanager
def dask_runner(site: str, output: Path, most_workers: int | None = None) -> Iterator[Runner]:
    """A runner on the site's cluster, which ends with the block; the shared one if there is one.

    Args:
        site: name of the site.
        output: folder of the study's outputs, for the logs of jobs.
        most_workers: no more workers than there is work for; a shared cluster has as many as its
            site says.

    Raises:
        StudyError: if there is no such site: now, not after an hour of other work.
        SiteError: if its jobs cannot be submitted from here.
    """
    shared = _SHARED.get()
    if shared is not None and shared.site == site:
        yield shared
        return
    with ExitStack() as stack:
        yield Runner(site, output, most_workers, stack)


@contextmanager
def shared_runner(site: str, output: Path) -> Iterator[None]:
    """Lets the flows that run inside share one cluster: each would import torch anew otherwise."""
    with dask_runner(site, output) as runner:
        token = _SHARED.set(runner)
        try:
            yield
        finally:
            _SHARED.reset(token)


@contextmanager
def _start_cluster(arguments: Mapping[str, Any]) -> Iterator[DaskTaskRunner]:
    # Its one message here is that it had to end a worker which was still busy exiting.
    logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
    with dask.config.set(DASK_CONFIG), DaskTaskRunner(**arguments) as runner:
        runner.client.register_plugin(StopTrainings())
        try:
            yield runner
        finally:
            runner.client.run(_send_last_words, on_error="ignore")


async def _send_last_words() -> None:
    """Sends the worker's queued events and logs: with them the server learns how tasks ended.

    A worker that is told to go has four seconds to exit; on a busy machine that is too short for
    what Prefect sends at exit, and finished tasks would stay Running on the dashboard.
    """
    for service in (EventsWorker, APILogWorker):
        draining = service.drain_all(timeout=_LAST_WORDS_LIMIT_S, at_exit=False)
        if not isinstance(draining, tuple):  # a coroutine, since this runs in a loop
            await draining
