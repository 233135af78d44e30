"""A service of a test's own: its folder, its commands, its API."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from infra.service.home import Home
from infra.service.processes import Known, find_marked
from infra.service.settings import REPOSITORY

# Started beside everything else that tests do, a server may take minutes.
LIMIT_S = 240
_POOL = {"name": "somaflow", "job_variables": {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}}


@dataclass(frozen=True)
class Service:
    """Where it lies and listens."""

    home: Home
    port: int

    @classmethod
    def in_folder(cls, folder: Path, **settings: Any) -> "Service":
        """A service that was not started yet, with these settings."""
        home = Home(folder)
        home.make()
        content = yaml.safe_load(home.settings.read_text()) | settings
        home.settings.write_text(yaml.safe_dump(content))
        return cls(home, find_free_port())

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command of the service."""
        command = [sys.executable, "-m", "infra.service", *arguments]
        if arguments[0] == "up":
            command += ["--port", str(self.port)]
        return subprocess.run(
            [*command, "--home", str(self.home.folder)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )

    def up(self, *arguments: str) -> str:
        """Starts it; what it printed."""
        done = self.call("up", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def down(self) -> None:
        """Ends it; nothing of it may be left."""
        done = self.call("down")
        assert done.returncode == 0, done.stdout + done.stderr
        assert find_marked(self.home.folder) == []

    @contextmanager
    def ending(self) -> Iterator["Service"]:
        """Ends it with the block, however that went."""
        try:
            yield self
        finally:
            self.call("down")

    @contextmanager
    def api(self) -> Iterator[SyncPrefectClient]:
        """A client of its API."""
        url = f"http://127.0.0.1:{self.port}/api"
        settings = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: self.home.password()}
        with temporary_settings(settings), get_client(sync_client=True) as client:
            yield client

    def start(self, deployment: str, **parameters: Any) -> FlowRun:
        """Starts a run of a deployment."""
        with self.api() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters)

    def state_of(self, run: FlowRun) -> str:
        """Name of the run's state."""
        with self.api() as client:
            state = client.read_flow_run(run.id).state
        return "none" if state is None else state.name

    def await_state(self, run: FlowRun, *names: str) -> str:
        """Waits until the run's state has one of these names."""
        await_true(lambda: self.state_of(run) in names, lambda: self.state_of(run) + self.logs())
        return self.state_of(run)

    def start_sleeper(self, folder: Path, **parameters: Any) -> tuple[FlowRun, int]:
        """A run that sleeps, and its process id."""
        run = self.start("sleeper/laptop", folder=str(folder), **parameters)
        await_true((folder / "pid").exists, self.logs)
        return run, int((folder / "pid").read_text())

    def child(self, name: str) -> Known:
        """One of its processes."""
        record = self.home.record()
        assert record is not None, self.logs()
        return record.supervisor if name == "supervisor" else record.children[name]

    def kill(self, name: str) -> None:
        """Kill -9 of one of its processes."""
        self.child(name).send(signal.SIGKILL)

    def await_another(self, name: str, former: Known) -> None:
        """Waits until another process has taken the place of `former`."""

        def is_there() -> bool:
            record = self.home.record()
            now = None if record is None else record.children.get(name)
            return now is not None and now != former and now.is_alive

        await_true(is_there, self.logs)

    def reruns(self) -> list[str]:
        """Ids of the runs for which the stand-in of `rerun` was started."""
        path = self.home.folder / "reruns"
        return path.read_text().split() if path.exists() else []

    def await_rerun(self, run: FlowRun) -> None:
        """Waits until `rerun` was started for this run."""
        await_true(lambda: str(run.id) in self.reruns(), self.logs)

    def logs(self) -> str:
        """Ends of its logs, for a message."""
        logs = sorted(self.home.logs.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)


def find_free_port() -> int:
    """A port of loopback that nothing listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_standins(folder: Path, silence_s: float = 300) -> dict[str, str]:
    """Settings for flows that stand in for somaflow's, and the shipped automations.

    Args:
        folder: where the files go.
        silence_s: seconds after which a run that sends no heartbeat is dead.
    """
    sleeper = {"name": "laptop", "entrypoint": "tests.infra.standins.sleep_in"}
    failing = {"name": "laptop", "entrypoint": "tests.infra.standins.fail"}
    limit = {"limit": 1, "collision_strategy": "ENQUEUE"}
    rerun = {"name": "service", "entrypoint": "tests.infra.standins.note_run"}
    schedule = {"slug": "nightly", "cron": "0 2 * * *"}
    deployments = [
        sleeper | {"tags": ["somaflow"], "concurrency_limit": limit},
        failing | {"tags": ["somaflow"]},
        rerun | {"tags": ["somaflow-service"], "schedules": [schedule]},
    ]
    content = {"name": "t", "deployments": [one | {"work_pool": _POOL} for one in deployments]}
    (folder / "prefect.yaml").write_text(json.dumps(content))
    shipped = REPOSITORY / "deployments" / "automations.yaml"
    automations = yaml.safe_load(shipped.read_text())
    (silence,) = (one for one in automations if one["name"] == "silence")
    silence["trigger"]["within"] = silence_s
    (folder / "automations.yaml").write_text(yaml.safe_dump(automations))
    return {
        "deployments": str(folder / "prefect.yaml"),
        "automations": str(folder / "automations.yaml"),
    }


def await_true(
    is_true: Callable[[], bool], why: Callable[[], str] = str, limit_s: float = LIMIT_S
) -> None:
    """Waits until a condition holds; `why` says what was there instead."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, f"it did not come to hold in time: {why()}"
        time.sleep(0.5)
