"""Starts the service's processes in order, keeps them alive, and ends them in the other order.

It imports neither Prefect nor Dask: it is to live for months, and takes 40 MB.
"""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import somaflow
from infra.postgres import system_user
from infra.service.children import Child, cut_log, remove_old
from infra.service.environment import client_environment, server_environment, worker_environment
from infra.service.home import Home, Record
from infra.service.network import answers, check_address
from infra.service.processes import end, find_marked, know
from infra.service.settings import POOL, REPOSITORY, ServiceSettings
from somaflow.errors import SiteError
from somaflow.processes import die_with_parent

READY = "ready"
_LOGGER = logging.getLogger("somaflow.service")
_START_LIMIT_S = 300.0
_PART_LIMIT_S = 600.0
_POLL_S = 1.0
_LOOK_S = 30.0
_CLEAN_S = 3600.0
# A server that does not answer so many times in a row, five minutes, hangs.
_SILENT_LOOKS = 10
# Trainings save themselves when they are asked to end, within 30 s. A run whose server is gone
# would take minutes to say so.
RUNS_LIMIT_S = 40.0
_SERVER_LIMIT_S = 30.0
_PREFECT = [sys.executable, "-m", "prefect"]


class _Ended(Exception):
    """Somebody asked the service to end."""


class Supervisor:
    """What runs in the service's one process that has no parent."""

    def __init__(self, home: Home, settings: ServiceSettings) -> None:
        """Starts nothing yet."""
        self._home, self._settings = home, settings
        self._end = threading.Event()
        self._stage = ""
        self._children: list[Child] = []
        self._looked_at = self._cleaned_at = 0.0
        self._silent_looks = 0

    def run(self) -> None:
        """Runs the service until SIGTERM or SIGINT.

        Raises:
            SiteError: if it could not be started, or another one runs in this home.
        """
        with _locked(self._home), _signals(self._ask_to_end):
            try:
                check_address(self._settings)
                self._start()
                while not self._end.wait(_POLL_S):
                    try:
                        self._tend()
                    except OSError as error:  # a full disk, no more processes: it may pass
                        _LOGGER.warning("the service goes on, although %s", error)
            except _Ended:
                pass
            finally:
                self._stop()

    def _ask_to_end(self, _number: int, _frame: FrameType | None) -> None:
        self._end.set()

    def _start(self) -> None:
        home, settings = self._home, self._settings
        end_leftovers(home)
        database = settings.database
        if settings.postgres:
            self._say("starts the database")
            database = self._start_database()
        self._say("starts the server")
        environment = server_environment(home, settings, database)
        server = self._add("server", self._server_command(), environment)
        server.start()
        self._await(lambda: answers(self._local_api), server, f"at {self._local_api}")
        self._say("deploys the flows")
        self._deploy()
        command = [*_PREFECT, "worker", "start", "--pool", POOL, "--type", "process"]
        worker = self._add("worker", command, worker_environment(home, settings), self._settle)
        worker.start()
        self._say(READY)

    def _server_command(self) -> list[str]:
        host, port = self._settings.host, str(self._settings.port)
        return [*_PREFECT, "server", "start", "--host", host, "--port", port]

    def _start_database(self) -> str:
        """Starts the service's own PostgreSQL; its URL."""
        cluster = self._home.postgres(self._settings)
        log = self._home.log("postgres")
        user = system_user()
        # By SIGTERM it would wait until nobody is connected any more.
        child = Child("postgres", cluster.command, os.environ, log, user=user, ask=signal.SIGINT)
        self._children.append(child)
        child.start()
        self._await(cluster.is_ready, child, f"in {cluster.folder}")
        return cluster.url

    def _add(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        may_start: Callable[[], bool] = lambda: True,
    ) -> Child:
        log = self._home.log(name)
        child = Child(name, command, environment, log, may_start=may_start)
        self._children.append(child)
        return child

    def _await(self, is_ready: Callable[[], bool], child: Child, where: str) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while not is_ready():
            if child.exit_code is not None or time.monotonic() > deadline:
                problem = f"{child.name} must answer {where}, it did not"
                raise SiteError(f"{problem}; {last_words(child.log)}")
            self._pause()

    @property
    def _local_api(self) -> str:
        """The API as this machine reaches it: its own name may lead elsewhere, or nowhere."""
        local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._settings.host)
        return f"http://{local}:{self._settings.port}/api" if local else self._settings.api

    def _deploy(self) -> None:
        what = [str(self._settings.deployments), str(self._settings.automations)]
        if not self._succeeds("deploy", *what):
            log = self._home.log("deploy")
            raise SiteError(f"the flows must be deployed, they could not be; {last_words(log)}")

    def _settle(self) -> bool:
        """Ends what a worker that is gone has left: processes, and runs without one.

        Without its worker the dashboard could not cancel a run any more.
        """
        end(find_marked(self._home.folder), RUNS_LIMIT_S)
        return answers(self._local_api) and self._succeeds("settle")

    def _succeeds(self, name: str, *arguments: str) -> bool:
        """Runs a part of the service that imports Prefect, in a process of its own."""
        log = self._home.log(name)
        cut_log(log)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"infra.service.{name}", *arguments],
                cwd=REPOSITORY,
                env=client_environment(self._home, self._settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + _PART_LIMIT_S
        try:
            while process.poll() is None and time.monotonic() < deadline:
                self._pause()
        finally:
            process.kill()
            process.wait()
        return process.returncode == 0

    def _pause(self) -> None:
        if self._end.wait(_POLL_S / 2):
            raise _Ended

    def _tend(self) -> None:
        """One look at everything."""
        again = [child.name for child in self._children if child.tend()]
        if again:
            self._write()
        if "server" in again:
            self._silent_looks = 0
        now = time.monotonic()
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        self._clean(now)
        self._look_at_server()

    def _look_at_server(self) -> None:
        """Ends a server that runs and has not answered for many looks: it hangs."""
        server = self._child("server")
        if server.exit_code is not None or answers(self._local_api, limit_s=10):
            self._silent_looks = 0
            return
        self._silent_looks += 1
        if self._silent_looks >= _SILENT_LOOKS:
            _LOGGER.warning("the server has not answered %d times; it is ended", _SILENT_LOOKS)
            server.kill()

    def _clean(self, now: float) -> None:
        """Cuts logs, and once an hour removes files that are as old as runs may become."""
        for log in (*(child.log for child in self._children), self._home.log("service")):
            cut_log(log)
        if now - self._cleaned_at > _CLEAN_S:
            self._cleaned_at = now
            for folder in self._home.leavings:
                remove_old(folder, self._settings.keep_runs_days)

    def _child(self, name: str) -> Child:
        return next(child for child in self._children if child.name == name)

    def _stop(self) -> None:
        self._say("ends")
        for child in reversed(self._children):
            if child.name == "worker":
                child.kill()  # at once: it would start the next run while others end
                end(find_marked(self._home.folder), RUNS_LIMIT_S)
            else:
                child.stop(_SERVER_LIMIT_S)
        self._home.record_file.unlink(missing_ok=True)
        _LOGGER.info("the service has ended")

    def _say(self, stage: str) -> None:
        self._stage = stage
        _LOGGER.info("the service %s", "is ready" if stage == READY else stage)
        self._write()

    def _write(self) -> None:
        known = know(os.getpid())
        if known is None:
            raise SiteError("this process must be listed by the system, it is not")
        children = {child.name: child.known for child in self._children if child.known is not None}
        version = somaflow.__version__
        Record(known, self._settings.url, self._stage, children, version).write(self._home)


def end_leftovers(home: Home) -> None:
    """Ends what an earlier service of this home left behind when it was killed."""
    record = home.record()
    known = list(record.children.values()) if record else []
    end([*find_marked(home.folder), *known], RUNS_LIMIT_S)


def last_words(log: Path) -> str:
    """Where a log lies and what it ends with, for a message."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    errors = [line.strip() for line in lines[-200:] if "rror" in line] or lines
    return f"its log {log} ends with: {errors[-1] if errors else 'nothing'}"


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Holds the home, so that no second service starts in it at the same time."""
    with home.lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SiteError(f"one service must run in {home.folder}, another one does") from error
        yield


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Lets SIGTERM and Ctrl-C end the service in good order."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    former = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, was in former.items():
            signal.signal(number, was)
