"""Deployments work as the README says: a real server, a real worker, `prefect deployment run`."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from somaflow.paths import RunPaths
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.server, pytest.mark.slow]
LIMIT_S = 420


@pytest.fixture
def prefect(environment: dict[str, str]) -> Iterator[object]:
    """Runs the prefect command line in the repository."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    yield run


def test_deployment_run_completes(
    prefect: object, environment: dict[str, str], api_url: str, study: Path, tmp_path: Path
) -> None:
    """`prefect deploy --all`, a worker, one `prefect deployment run`: the study completes."""
    assert callable(prefect)
    prefect("work-pool", "create", "somaflow-laptop", "--type", "process", "--overwrite")
    prefect("--no-prompt", "deploy", "--all")
    log = (tmp_path / "worker.log").open("w")
    worker = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "somaflow-laptop"],
        cwd=tmp_path,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        prefect("deployment", "run", "study/laptop", "--param", f"study={study}")
        state = await_terminal_state(api_url, "study synthetic")
    finally:
        worker.terminate()
        worker.wait(timeout=60)
        log.close()
    assert state == "COMPLETED", (tmp_path / "worker.log").read_text()[-3000:]
    (key,) = RunPaths(study.parent / "output").inference_keys()
    assert list((study.parent / "output" / "ledger" / key).glob("shard-*.json"))


def await_terminal_state(api_url: str, flow_run: str) -> str:
    """The final state of the newest deployed run of that name."""
    deadline = time.monotonic() + LIMIT_S
    body = {
        "sort": "START_TIME_DESC",
        "flow_runs": {
            "name": {"any_": [flow_run]},
            "deployment_id": {"is_null_": False},
            "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}},
        },
    }
    while time.monotonic() < deadline:
        runs = httpx.post(f"{api_url}/flow_runs/filter", json=body, timeout=30).json()
        if runs:
            return runs[0]["state_type"]
        time.sleep(2)
    return "no terminal state in time"


def test_every_flow_has_a_deployment_for_the_laptop() -> None:
    """prefect.yaml deploys each flow that the command line runs, by module path, described."""
    from flows.__main__ import FLOWS

    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    expected = {entry.replace(":", ".") for entry in FLOWS.values()}
    assert expected == {deployment["entrypoint"] for deployment in deployments}
    assert all(len(deployment["description"]) > 40 for deployment in deployments)
