"""Runs work on a site's Dask cluster, which starts with the first piece and ends with the flow."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakSet

import dask
from distributed import Client, Future, KilledWorker
from prefect import Task
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED, temporary_settings
from prefect.states import Crashed
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from infra.clusters import DASK_CONFIG, most_at_once, runner_arguments
from infra.jobs import JobBoard, JobWatch
from infra.specs import SlurmSite, load_site
from infra.tls import made_keys
from somaflow.clocks import JumpBack
from somaflow.errors import SiteError
from somaflow.files import name_temporary
from tasks.privacy import hide, known_codes
from tasks.trouble import not_vital
from tasks.workers import (
    CLOCK_LIMIT_S,
    KeepsDonorsPrivate,
    KnowsItsEnd,
    LeavesWhenClockJumps,
    StopTrainings,
    WorkersDied,
    stop_trainings,
)

_LAST_WORDS_LIMIT_S = 20
_POLL_S = 1.0
_LONELY_LIMIT_S = 120
_NOT_FOUND = 404
_ENDING = "the run ends, its workers are let go"


class Runner:
    """A site's Dask cluster, started by the first work: a finished experiment starts none."""

    def __init__(self, site: str, output: Path, most_workers: int | None, stack: ExitStack) -> None:
        """Starts nothing yet; made by `dask_runner`."""
        self.site, self._output = site, output
        self._spec = load_site(site)
        self._board = JobBoard()
        self._keys = name_temporary(output / "tls") if self._spec.tls else None
        self._arguments = runner_arguments(
            self._spec, output, most_workers, self._board, self._keys
        )
        self._logs = output / self._spec.log_folder if isinstance(self._spec, SlurmSite) else None
        self._stack = stack
        self._started = threading.Lock()
        self._runner: DaskTaskRunner | None = None
        self._watch: JobWatch | None = None
        # Held weakly: a result that is kept is recomputed when the worker that has it dies.
        self._futures: WeakSet[Future] = WeakSet()
        self._has_tasks = False
        self._ending = False
        self._clock, self._lonely = JumpBack(), _Lonely()

    @property
    def most_at_once(self) -> int:
        """Tasks that its workers run at the same time, at most."""
        return most_at_once(self._spec)

    @property
    def problem(self) -> str:
        """Why no worker can be had any more, in words; empty as long as some can."""
        if self._watch is not None and self._watch.problem:
            return f"site {self.site}: {self._watch.problem}"
        if (back_s := self._clock.seconds()) > CLOCK_LIMIT_S:
            return (
                f"the clock must not be set back while workers run, it was, by {back_s:.0f} s, and "
                "Dask's messages would wait as long"
            )
        if self._lonely.seconds(self._n_workers) > _LONELY_LIMIT_S:
            return (
                f"site {self.site}: a worker must be alive, for {_LONELY_LIMIT_S / 60:.0f} minutes "
                "none was; why is in the messages above"
            )
        return _ENDING if self._ending else ""

    def _n_workers(self) -> int:
        """Workers that are alive; 1 on a site whose jobs are watched otherwise, or without work."""
        if self._runner is None or self._watch is not None:
            return 1
        return len(self._runner.client.cluster.scheduler.workers)

    def submit(self, task: Task[Any, Any], **parameters: Any) -> "SiteFuture":
        """Submits the task, to a cluster that starts now if none has."""
        runner = self.start()
        # The flow has asked the server for its version; a task that asks again fails without one.
        with temporary_settings({PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}):
            future = runner.submit(task, parameters=parameters)
        self._futures.add(future.wrapped_future)
        self._has_tasks = True
        return SiteFuture(self, future)

    def run(self, task: Task[Any, Any], **parameters: Any) -> Any:
        """Runs one task on the cluster and returns its result; a failed task raises."""
        return self.submit(task, **parameters).result()

    def compute(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a plain function returns on some worker, see `tasks.workers.Workers`."""
        key = f"{name}-{uuid4().hex[:8]}"
        future = self.start().client.submit(function, *arguments, key=key, pure=False)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        try:
            while not done.wait(_POLL_S):
                if self.problem:
                    raise SiteError(self.problem)
            if future.cancelled():
                raise SiteError(self.problem or "the scheduler of the workers is gone; run again")
            return future.result()
        except KilledWorker as error:
            raise WorkersDied(f"{error.allowed_failures + 1} workers died of {name}") from error
        finally:
            future.release()

    def retire(self, address: str) -> None:
        """Lets a worker go; a job takes its place if there is work for it."""
        self.start().client.retire_workers([address])

    def log_of(self, worker: str) -> str:
        """Where the job of a worker writes its log; empty on this machine."""
        log = self._watch.log_of(worker) if self._watch is not None else None
        return str(log or "")

    def abandon(self, reason: str) -> None:
        """Cancels tasks that were submitted, and asks trainings to save themselves and stop."""
        if self._runner is not None:
            client = self._runner.client
            client.cancel(list(self._futures))
            client.run(stop_trainings, reason, on_error="ignore")

    def start(self) -> DaskTaskRunner:
        """The running cluster."""
        with self._started:
            if self._runner is None:
                self._runner = self._stack.enter_context(self._start())
            return self._runner

    @contextmanager
    def _start(self) -> Iterator[DaskTaskRunner]:
        # Its one message here is that it had to end a worker which was still busy exiting.
        logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
        keys = nullcontext() if self._keys is None else made_keys(self._keys)
        with keys, dask.config.set(DASK_CONFIG), DaskTaskRunner(**self._arguments) as runner:
            client: Client = runner.client
            client.register_plugin(KeepsDonorsPrivate(self._output, known_codes(self._output)))
            client.register_plugin(StopTrainings())
            client.register_plugin(KnowsItsEnd())
            client.register_plugin(LeavesWhenClockJumps())
            if isinstance(self._spec, SlurmSite) and self._logs is not None:
                self._watch = JobWatch(self._spec, self._board, self._logs, client.cluster)
                self._watch.on_problem = lambda: client.cancel(list(self._futures))
            try:
                yield runner
            finally:
                self._ending = True
                if self._watch is not None:
                    self._watch.stop()
                if self._has_tasks:
                    client.run(_send_last_words, on_error="ignore")


class _Lonely:
    """How long there has been no worker, as far as anybody looked."""

    def __init__(self) -> None:
        self._since = self._looked = time.monotonic()

    def seconds(self, count: Callable[[], int]) -> float:
        now = time.monotonic()
        if count() or now - self._looked > _LONELY_LIMIT_S / 4:
            self._since = now
        self._looked = now
        return now - self._since


class SiteFuture(PrefectDaskFuture[Any]):
    """The future of a task on a site, which fails in words when the site does."""

    def __init__(self, runner: Runner, future: PrefectDaskFuture[Any]) -> None:
        """Stands for `future`."""
        super().__init__(future.task_run_id, future.wrapped_future)
        self._site_runner = runner

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """The task's result.

        Raises:
            SiteError: if it could not run, or died with its workers.
        """
        problem = "the scheduler of the workers is gone; run again"
        try:
            self.wait(timeout)
            if not self.wrapped_future.cancelled():
                return super().result(timeout, raise_on_failure)
            problem = self._site_runner.problem or problem
        except KilledWorker as error:
            problem = (
                f"a task must leave its worker alive, {error.allowed_failures + 1} workers died of "
                "it; out of memory? Give workers more (memory_gb of the site)"
            )
        _mark_crashed(self.task_run_id, problem)
        raise SiteError(problem)


def _mark_crashed(task_run_id: UUID, why: str) -> None:
    """Ends a task run whose worker died: it cannot say so itself, and would stay Running."""
    with not_vital("the end of a task"), get_client(sync_client=True) as client:
        try:
            client.set_task_run_state(task_run_id, Crashed(message=hide(why)), force=True)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != _NOT_FOUND:
                raise
            # It never began, so the server does not know it.


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


def abandon_work(reason: str) -> None:
    """Ends what still runs on the shared cluster: trainings save themselves, the rest is let go."""
    runner = _SHARED.get()
    if runner is not None:
        runner.abandon(reason)


async def _send_last_words() -> None:
    """Sends the worker's queued events and logs: with them the server learns how tasks ended.

    A worker that is told to go has four seconds to exit; on a busy machine that is too short for
    what Prefect sends at exit, and finished tasks would stay Running on the dashboard.
    """
    for service in (EventsWorker, APILogWorker):
        draining = service.drain_all(timeout=_LAST_WORDS_LIMIT_S, at_exit=False)
        if not isinstance(draining, tuple):  # a coroutine, since this runs in a loop
            await draining
