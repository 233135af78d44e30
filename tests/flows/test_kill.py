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


def test_killed_flow_resumes_to_the_same_bytes(
    study: Path, somaflow: Run, environment: dict[str, str]
) -> None:
    """Killed after some shards, with its Dask cluster, and started again.

    The result is that of an undisturbed run, and shards finished before the kill keep their files.
    """
    study.write_text(study.read_text().replace("shard_tiles: 8", "shard_tiles: 2"))
    output = study.parent / "output"
    assert somaflow("run", "e0-prepare", study).returncode == 0
    assert somaflow("run", "e5-inference", study).returncode == 0
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
