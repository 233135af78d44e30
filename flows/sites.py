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


class Runner:
    """A site's Dask cluster, started by the first task: a finished experiment starts none."""

    def __init__(self, site: str, most_workers: int | None, stack: ExitStack) -> None:
        """Starts nothing yet; made by `dask_runner`."""
        self.site = site
        self._spec, self._most_workers, self._stack = load_site(site), most_workers, stack
        self._runner: DaskTaskRunner | None = None

    def submit(self, task: Task[Any, Any], **parameters: Any) -> PrefectFuture[Any]:
        """Submits the task, to a cluster that starts now if none has."""
        if self._runner is None:
            cluster = _start_cluster(self._spec, self._most_workers)
            self._runner = self._stack.enter_context(cluster)
        return self._runner.submit(task, parameters=parameters)

    def run(self, task: Task[Any, Any], **parameters: Any) -> Any:
        """Runs one task on the cluster and returns its result; a failed task raises."""
        return self.submit(task, **parameters).result()


_SHARED: ContextVar[Runner | None] = ContextVar("shared runner", default=None)


@contextmanager
def dask_runner(site: str, most_workers: int | None = None) -> Iterator[Runner]:
    """A runner on the site's cluster, which ends with the block; the shared one if there is one.

    Args:
        site: name of the site.
        most_workers: no more workers than there is work for; a shared cluster has as many as its
            site says.

    Raises:
        StudyError: if there is no such site: now, not after an hour of other work.
    """
    shared = _SHARED.get()
    if shared is not None and shared.site == site:
        yield shared
        return
    with ExitStack() as stack:
        yield Runner(site, most_workers, stack)


@contextmanager
def shared_runner(site: str) -> Iterator[None]:
    """Lets the flows that run inside share one cluster: each would import torch anew otherwise."""
    with dask_runner(site) as runner:
        token = _SHARED.set(runner)
        try:
            yield
        finally:
            _SHARED.reset(token)


@contextmanager
def _start_cluster(spec: Site, most_workers: int | None) -> Iterator[DaskTaskRunner]:
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


async def _send_last_words() -> None:
    """Sends the worker's queued events and logs: with them the server learns how tasks ended.

    A worker that is told to go has four seconds to exit; on a busy machine that is too short for
    what Prefect sends at exit, and finished tasks would stay Running on the dashboard.
    """
    for service in (EventsWorker, APILogWorker):
        draining = service.drain_all(timeout=_LAST_WORDS_LIMIT_S, at_exit=False)
        if not isinstance(draining, tuple):  # a coroutine, since this runs in a loop
            await draining
