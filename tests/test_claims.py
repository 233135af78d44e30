"""A shard belongs to one worker at a time, whatever process, thread or node it is on."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from somaflow.claims import claim_shard
from somaflow.errors import OutputError
from somaflow.paths import RunPaths
from tests.conftest import REPOSITORY

KEY = "0123456789abcdef0123"
HOLDER = """
import sys, time
from pathlib import Path
from somaflow.claims import claim_shard
from somaflow.paths import RunPaths
with claim_shard(RunPaths(Path(sys.argv[1])), sys.argv[2], 7):
    print("held", flush=True)
    time.sleep(600)
"""


class GaveUp(Exception):
    """Raised while waiting."""


def give_up() -> None:
    raise GaveUp


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    found = RunPaths(tmp_path)
    found.ledger(KEY).mkdir(parents=True)
    return found


def test_claim_of_another_thread_is_waited_for(paths: RunPaths) -> None:
    """Two threads of one process do not hold the same shard."""
    with claim_shard(paths, KEY, 3), pytest.raises(GaveUp), claim_shard(paths, KEY, 3, give_up):
        pass
    with claim_shard(paths, KEY, 3, give_up):
        pass


def test_other_shards_are_free(paths: RunPaths) -> None:
    """A claim is of one shard, not of the inference."""
    with claim_shard(paths, KEY, 3), claim_shard(paths, KEY, 4, give_up):
        pass


def test_claim_of_a_killed_process_is_free(paths: RunPaths) -> None:
    """Kill -9 of whoever holds a shard gives it back at once."""
    command = [sys.executable, "-c", HOLDER, str(paths.output), KEY]
    holder = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert b"held\n" == holder.stdout.readline()
    with pytest.raises(GaveUp), claim_shard(paths, KEY, 7, give_up):
        pass
    holder.kill()
    holder.wait()
    with claim_shard(paths, KEY, 7, give_up):
        pass


def test_who_waits_is_next(paths: RunPaths) -> None:
    """A claim is given on to who waits for it, as soon as it is free."""
    order: list[str] = []

    def wait() -> None:
        with claim_shard(paths, KEY, 0):
            order.append("second")

    with claim_shard(paths, KEY, 0):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        order.append("first")
    waiting.join(timeout=30)
    assert ["first", "second"] == order


def test_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    """A file where the ledger must be is named."""
    (tmp_path / "ledger").write_text("")
    expected = pytest.raises(OutputError, match="a file stands where a folder must be")
    with expected, claim_shard(RunPaths(tmp_path), KEY, 0):
        pass
