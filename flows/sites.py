"""Where tasks run: reads a site's YAML from `infra/` and makes the Dask task runner for it."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import yaml
from prefect import Task
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture
from prefect.logging.handlers import APILogWorker
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from somaflow.errors import StudyError
from tasks.workers import StopTrainings

_LAST_WORDS_LIMIT_S = 20
SITES = Path(__file__).resolve().parents[1] / "infra"


class Site(BaseModel):
    """Workers of one place."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    kind: Literal["local"] = "local"
    """`local`: processes of the machine that runs the flow."""
    workers: int = Field(default=2, ge=1, le=256)
    """Worker processes."""
    threads_per_worker: int = Field(default=1, ge=1)
    """Tasks a worker runs at once."""
    memory_gb: float = Field(default=4, gt=0)
    """Memory at which a worker is restarted."""


def load_site(name: str) -> Site:
    """The site `name` from `infra/<name>.yaml`, or from a path that ends in .yaml.

    Raises:
        StudyError: if there is no such site, or its file holds something else.
    """
    path = Path(name) if name.endswith(".yaml") else SITES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SITES.glob("*.yaml")))
        raise StudyError(f"site must be one of {known} or the path of a YAML file, got {name!r}")
    try:
        return Site.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise StudyError(f"site file {path} must describe workers: {error}") from error


@contextmanager
def dask_runner(site: str, most_workers: int | None = None) -> Iterator[DaskTaskRunner]:
    """A task runner on the site's Dask cluster: the shared one, or its own for this block.

    Args:
        site: name of the site.
        most_workers: no more workers than there is work for; a shared cluster has as many as its
            site says.
    """
    shared = _SHARED.get()
    if shared is not None and shared.site == site:
        yield shared.start()
        return
    with _start_cluster(load_site(site), most_workers) as runner:
        yield runner


class LazyRunner:
    """The site's Dask cluster, started by the first task; a finished experiment starts none."""

    def __init__(self, site: str) -> None:
        """Starts nothing yet.

        Raises:
            StudyError: if there is no such site: now, not after an hour of other work.
        """
        load_site(site)
        self.site = site
        self._stack = ExitStack()
        self._runner: DaskTaskRunner | None = None

    def __enter__(self) -> "LazyRunner":
        """The runner itself."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Ends the cluster, if there is one."""
        self._stack.__exit__(*error)

    def start(self) -> DaskTaskRunner:
        """The task runner, which starts now if it has not."""
        if self._runner is None:
            shared = _SHARED.get()
            own = shared is None or shared is self or shared.site != self.site
            context = _start_cluster(load_site(self.site)) if own else dask_runner(self.site)
            self._runner = self._stack.enter_context(context)
        return self._runner

    def submit(self, task: Task[Any, Any], parameters: dict[str, Any]) -> PrefectFuture[Any]:
        """Submits the task, to a cluster that starts now if none has."""
        return self.start().submit(task, parameters=parameters)


_SHARED: ContextVar[LazyRunner | None] = ContextVar("shared runner", default=None)


@contextmanager
def shared_runner(site: str) -> Iterator[None]:
    """Lets the flows that run inside share one cluster: each would import torch anew otherwise."""
    with LazyRunner(site) as runner:
        token = _SHARED.set(runner)
        try:
            yield
        finally:
            _SHARED.reset(token)


@contextmanager
def _start_cluster(spec: Site, most_workers: int | None = None) -> Iterator[DaskTaskRunner]:
    workers = spec.workers if most_workers is None else max(1, min(spec.workers, most_workers))
    cluster = {
        "n_workers": workers,
        "threads_per_worker": spec.threads_per_worker,
        "memory_limit": f"{spec.memory_gb}GB",
        "host": "127.0.0.1",
        "dashboard_address": None,
    }
    # Its one message here is that it had to end a worker which was still busy exiting.
    logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
    with DaskTaskRunner(cluster_class="distributed.LocalCluster", cluster_kwargs=cluster) as runner:
        runner.client.register_plugin(StopTrainings())
        try:
            yield runner
        finally:
            runner.client.run(_send_last_words, on_error="ignore")


def run_on(runner: DaskTaskRunner, task: Task[Any, Any], **parameters: Any) -> Any:
    """Runs one task on the runner's cluster and returns its result; a failed task raises."""
    return runner.submit(task, parameters=parameters).result()


async def _send_last_words() -> None:
    """Sends the worker's queued events and logs: with them the server learns how tasks ended.

    A worker that is told to go has four seconds to exit; on a busy machine that is too short for
    what Prefect sends at exit, and finished tasks would stay Running on the dashboard.
    """
    for service in (EventsWorker, APILogWorker):
        draining = service.drain_all(timeout=_LAST_WORDS_LIMIT_S, at_exit=False)
        if not isinstance(draining, tuple):  # a coroutine, since this runs in a loop
            await draining
