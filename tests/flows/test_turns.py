"""Of two runs that segment one study the second waits its turn, or is refused, as asked to."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from somaflow.ledger import read_records
from somaflow.study import load_study
from tests.begun import at_work, prepare, write_study
from tests.conftest import REPOSITORY
from tests.flows.conftest import Run

pytestmark = [pytest.mark.server, pytest.mark.slow]
LIMIT_S = 240


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a prepared study."""
    made = write_study(tmp_path / "mine", name=f"turns-{tmp_path.name}", device="cpu")
    prepare(made)
    return made


@pytest.fixture
def other_run(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is at work on the study."""
    with at_work(load_study(path).output) as process:
        yield process


def find_run(api_url: str, path: Path) -> dict[str, Any]:
    """What the server knows of the one run of the study."""
    name = f"segment all of {load_study(path).name}"
    body = {"flow_runs": {"name": {"any_": [name]}}}
    runs = httpx.post(f"{api_url}/flow_runs/filter", json=body, timeout=30).json()
    return runs[0] if runs else {"state_name": None}


def test_second_run_is_refused_before_anything_is_started(
    path: Path, other_run: subprocess.Popen[bytes], somaflow: Run, api_url: str
) -> None:
    """One sentence that names the run at work; no flow run is left on the dashboard."""
    done = somaflow("run", "e5-inference", path, "--if-busy", "refuse")
    assert 1 == done.returncode
    assert "somaflow: one run at a time segments a study, run 'segment all of mine'" in done.stderr
    assert find_run(api_url, path)["state_name"] is None


def test_second_run_waits_and_goes_on_when_the_first_is_killed(
    path: Path,
    other_run: subprocess.Popen[bytes],
    environment: dict[str, str],
    api_url: str,
) -> None:
    """The dashboard shows that it waits, and for whom; after kill -9 of the first it does all."""
    run = subprocess.Popen(
        [sys.executable, "-m", "flows", "e5-inference", str(path)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + LIMIT_S
    while (found := find_run(api_url, path))["state_name"] != "Waiting":
        assert run.poll() is None, "it did not wait"
        assert time.monotonic() < deadline, "it was not seen to wait"
        time.sleep(0.2)
    assert "RUNNING" == found["state_type"]
    assert (
        f"waits for run 'segment all of mine' (process {other_run.pid} on"
        in (found["state"]["message"])
    )
    paths = load_study(path).paths
    assert [] == paths.inference_keys()
    other_run.kill()
    printed, _ = run.communicate(timeout=LIMIT_S)
    assert 0 == run.returncode, printed[-3000:]
    assert "It is this run's turn, after" in printed
    assert "COMPLETED" == find_run(api_url, path)["state_type"]
    (key,) = paths.inference_keys()
    assert 3 == len(read_records(paths, key))
