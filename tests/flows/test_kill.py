"""kill -9 of the whole command in the middle of an inference loses nothing."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.flows.conftest import Run
from tests.inference.study_files import tree_digest

pytestmark = [pytest.mark.server, pytest.mark.slow]
RESULTS = ("labels", "cells", "ledger")
START_LIMIT_S = 240


def results(output: Path) -> dict[str, dict[str, bytes]]:
    """All files of labels, cells and ledger."""
    return {part: tree_digest(output / part) for part in RESULTS}


@pytest.mark.long
def test_killed_flow_resumes_to_the_same_bytes(
    study: Path, somaflow: Run, environment: dict[str, str]
) -> None:
    """Killed after some shards, with its Dask cluster, and started again.

    The result is that of an undisturbed run, and shards finished before the kill keep their files.
    """
    study.write_text(study.read_text().replace("shard_tiles: 8", "shard_tiles: 2"))
    output = study.parent / "output"
    assert somaflow("run", "e0-prepare", study).returncode == 0
    done = somaflow("run", "e5-inference", study, "--profile")
    assert done.returncode == 0
    assert "ms_a_tile" in done.stdout
    assert "of the workers' time." in done.stdout
    undisturbed = results(output)
    for part in RESULTS:
        shutil.rmtree(output / part)

    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "e5-inference", str(study)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_LIMIT_S
    while len(records := list(output.glob("ledger/*/shard-*.json"))) < 3:
        assert process.poll() is None, "the flow ended before it could be killed"
        assert time.monotonic() < deadline, "no shard was committed in time"
        time.sleep(0.05)
    finished = {path: path.stat().st_mtime_ns for path in records}
    process.kill()
    process.wait()
    assert len(finished) < 16

    assert somaflow("run", "e5-inference", study).returncode == 0
    assert undisturbed == results(output)
    assert finished == {path: path.stat().st_mtime_ns for path in finished}


@pytest.mark.long
def test_finished_inference_is_recognised_without_a_server(
    study: Path, somaflow: Run, environment: dict[str, str]
) -> None:
    """Run again where no Prefect is configured, a finished study starts no server and no flow."""
    study.write_text(
        study.read_text()
        + "recipes: [{name: stand-in, model: threshold}]\ninference_recipe: stand-in\n"
    )
    output = study.parent / "output"
    assert somaflow("run", "e0-prepare", study).returncode == 0
    assert somaflow("run", "e5-inference", study).returncode == 0
    before = results(output)
    alone = {name: value for name, value in environment.items() if name != "PREFECT_API_URL"}
    command = [sys.executable, "-m", "somaflow", "run", "e5-inference", str(study)]

    def run_again() -> str:
        done = subprocess.run(
            command, cwd=REPOSITORY, env=alone, capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    assert "4 of 4 shards done, 0 to do" in run_again()
    assert not (output / "prefect").exists(), "a server was started for nothing"
    damaged = next(path for path in (output / "labels").rglob("c/*/0/0"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert "3 of 4 shards done, 1 to do" in run_again()
    assert before == results(output)
