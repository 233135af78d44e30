"""A Prefect server that dies in the middle of an inference costs no tile."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from somaflow.ledger import read_records
from somaflow.study import load_study
from tests.conftest import REPOSITORY
from tests.flows.conftest import Run

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]
LIMIT_S = 240


def prepare(study: Path, somaflow: Run) -> None:
    """A prepared study of small shards, without a net."""
    text = study.read_text().replace("shard_tiles: 8", "shard_tiles: 1")
    text += "recipes: [{name: stand-in, model: threshold}]\ninference_recipe: stand-in\n"
    study.write_text(text)
    assert somaflow("run", "e0-prepare", study).returncode == 0


def start(study: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Starts E5 as a user would."""
    return subprocess.Popen(
        [sys.executable, "-m", "somaflow", "run", "e5-inference", str(study)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_server(process: psutil.Process) -> None:
    """Kill -9 of a Prefect server and what it started."""
    for part in [*process.children(recursive=True), process]:
        part.kill()


def await_shards(study: Path, number: int, run: subprocess.Popen[str]) -> None:
    """Waits until so many shards are committed."""
    deadline = time.monotonic() + LIMIT_S
    ledger = load_study(study).output / "ledger"
    while len(list(ledger.glob("*/shard-*.json"))) < number:
        assert run.poll() is None, "the run ended before its server could be killed"
        assert time.monotonic() < deadline, "no shard was committed in time"
        time.sleep(0.02)


def count_done(study: Path) -> int:
    """Shards in the ledger."""
    paths = load_study(study).paths
    return len(read_records(paths, paths.inference_keys()[0]))


def test_own_server_that_dies_is_started_again(
    study: Path, somaflow: Run, environment: dict[str, str]
) -> None:
    """The command's own server, killed -9 in the middle, comes back; the run ends well."""
    prepare(study, somaflow)
    alone = {name: value for name, value in environment.items() if name != "PREFECT_API_URL"}
    run = start(study, alone)
    await_shards(study, 2, run)
    (server,) = [
        child
        for child in psutil.Process(run.pid).children(recursive=True)
        if "server" in child.cmdline() and "prefect" in child.cmdline()
    ]
    kill_server(server)
    printed, _ = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0, printed[-3000:]
    assert "The Prefect server has died; starting it again." in printed
    assert 32 == count_done(study)


def test_server_that_stays_away_is_named_and_nothing_is_lost(
    study: Path, somaflow: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    """All shards are committed without it; the run says what it misses; a rerun finds all done."""
    prepare(study, somaflow)
    home = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", "42637"]
    server = subprocess.Popen(
        command, env={**os.environ, **home}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    api = {"PREFECT_API_URL": "http://127.0.0.1:42637/api", "SOMAFLOW_SERVER_WAIT_S": "5"}
    api["PREFECT_CLIENT_MAX_RETRIES"] = "0"  # by default it tries for minutes
    try:
        wait = "from flows.server import await_server; await_server(180)"
        subprocess.run(
            [sys.executable, "-c", wait], env={**environment, **api}, cwd=REPOSITORY, check=True
        )
        run = start(study, {**environment, **api})
        await_shards(study, 2, run)
    finally:
        kill_server(psutil.Process(server.pid))
        server.wait()
    printed, _ = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 1, printed[-3000:]
    (words,) = [line for line in printed.splitlines() if line.startswith("somaflow: ")]
    assert "Prefect server must answer at http://127.0.0.1:42637/api" in words
    assert 32 == count_done(study)
    again = somaflow("run", "e5-inference", study)
    assert again.returncode == 0
    assert "32 of 32 shards done, 0 to do" in again.stderr
