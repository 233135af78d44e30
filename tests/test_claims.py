"""A shard belongs to one worker, a study to one run that segments it, wherever the others are."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from somaflow.claims import Holder, claim_shard, claim_study, find_holder, refuse_if_busy
from somaflow.errors import BusyError, OutputError
from somaflow.paths import RunPaths
from tests.begun import at_work
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


def wait_in_vain(holder: Holder) -> None:
    raise GaveUp(str(holder))


@pytest.fixture
def other_run(paths: RunPaths) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is at work on the study."""
    with at_work(paths.output) as process:
        yield process


def test_second_run_waits_and_is_told_for_whom(
    paths: RunPaths, other_run: subprocess.Popen[bytes]
) -> None:
    """Name, process and machine of the run that is at work, and since when."""
    words = f"run 'segment all of mine' \\(process {other_run.pid} on .+, since 2.+\\+00:00\\)"
    with pytest.raises(GaveUp, match=words), claim_study(paths, "mine", "wait", wait_in_vain):
        pass


def test_second_run_is_refused_in_one_sentence(
    paths: RunPaths, other_run: subprocess.Popen[bytes]
) -> None:
    """It says what must hold, who is at work, where, and what to do."""
    words = "one run at a time segments a study, run 'segment all of mine' .+; wait for it or"
    with pytest.raises(BusyError, match=words), claim_study(paths, "mine", "refuse"):
        pass
    with pytest.raises(BusyError, match=words):
        refuse_if_busy(paths)


def test_killed_run_gives_its_study_back(
    paths: RunPaths, other_run: subprocess.Popen[bytes]
) -> None:
    """Kill -9 of the run at work lets the one that waits go on, though the note is still there."""
    waited_for: list[int] = []

    def kill(holder: Holder) -> None:
        waited_for.append(holder.pid)
        other_run.kill()
        other_run.wait()

    with claim_study(paths, "mine", "wait", kill):
        assert [other_run.pid] == waited_for
        found = find_holder(paths)
        assert found is not None
        assert ("mine", os.getpid()) == (found.run, found.pid)
    assert find_holder(paths) is None


def test_looking_at_a_claim_takes_nothing(
    paths: RunPaths, other_run: subprocess.Popen[bytes]
) -> None:
    """Who is at work is known without a lock; a note that a killed run left is not believed."""
    found = find_holder(paths)
    assert found is not None
    assert other_run.pid == found.pid
    other_run.kill()
    other_run.wait()
    assert paths.claim_holder.exists()
    assert find_holder(paths) is None
    refuse_if_busy(paths)


def test_run_within_a_run_does_not_wait_for_itself(paths: RunPaths) -> None:
    """The flow `study` holds what its own e5-inference asks for; another thread has no part."""
    refused: list[str] = []

    def ask() -> None:
        try:
            with claim_study(paths, "other", "refuse"):
                pass
        except BusyError as error:
            refused.append(str(error))

    with claim_study(paths, "study"):
        with claim_study(paths, "segment all", "refuse"):
            pass
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        found = find_holder(paths)
    assert 1 == len(refused)
    assert found is not None
    assert "study" == found.run
