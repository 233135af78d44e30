"""Who may be sent a signal, and how processes of a service are kept alive and found again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.service import children
from infra.service.children import Child, cut_log, remove_old, wait_before
from infra.service.processes import MARK, Known, end, find_marked, know, start_of
from tests.infra.services import await_true

LIMIT_S = 30
SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(SLEEPS)
    yield process
    process.kill()
    process.wait()


def test_process_is_known_by_its_start(sleeper: "subprocess.Popen[bytes]") -> None:
    """A process is the same as long as it lives, and nobody once it has ended."""
    known = know(sleeper.pid)
    assert known is not None
    assert known.is_alive
    sleeper.kill()
    sleeper.wait()
    assert not known.is_alive
    assert know(sleeper.pid) is None


def test_zombie_is_not_alive(sleeper: "subprocess.Popen[bytes]") -> None:
    """A process that has ended and was not waited for does not count as running."""
    known = know(sleeper.pid)
    assert known is not None
    sleeper.kill()
    await_true(lambda: not known.is_alive)
    assert start_of(sleeper.pid) is None


def test_reused_process_id_is_never_signalled(sleeper: "subprocess.Popen[bytes]") -> None:
    """Whoever has the id of a process that is gone stays unharmed, even by a kill."""
    known = know(sleeper.pid)
    assert known is not None
    former = Known(sleeper.pid, f"{known.start}0")
    former.send(signal.SIGKILL)
    end([former], limit_s=1)
    time.sleep(0.2)
    assert sleeper.poll() is None


def test_end_kills_who_does_not_listen(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after the limit."""
    program = "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    program += f"pathlib.Path({str(tmp_path / 'deaf')!r}).touch(); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", program])
    await_true((tmp_path / "deaf").exists)
    known = know(process.pid)
    assert known is not None
    end([known], limit_s=0.5)
    assert process.wait(LIMIT_S) == -signal.SIGKILL


def test_grandchildren_are_found_by_their_mark(tmp_path: Path) -> None:
    """What a marked process started is found after that one is gone, in a session of its own."""
    program = "import subprocess, sys, os\n"
    program += f"subprocess.Popen({SLEEPS!r}, start_new_session=True)"
    environment = {**os.environ, MARK: str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    (found,) = find_marked(tmp_path)
    assert find_marked(tmp_path.parent) == []
    end([found], limit_s=LIMIT_S)
    assert find_marked(tmp_path) == []


def test_wait_before_a_start_grows_to_five_minutes() -> None:
    """A process that dies again and again is started at ever longer intervals, never in a loop."""
    assert [1, 2, 4, 8, 16] == [wait_before(deaths) for deaths in range(1, 6)]
    assert 300 == wait_before(10) == wait_before(10_000)


def test_child_that_dies_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another process takes the place of one that was killed, and the log says so."""
    child = Child("sleeper", SLEEPS, os.environ, tmp_path / "log")
    child.start()
    first = child.known
    assert first is not None
    first.send(signal.SIGKILL)
    with caplog.at_level("INFO", "somaflow.service"):
        await_true(child.tend)
    second = child.known
    assert second is not None
    assert second.is_alive
    assert second != first
    assert "sleeper died (exit code -9)" in caplog.text
    assert "starts again in 1 s" in caplog.text
    child.stop(LIMIT_S)
    assert not second.is_alive


def test_child_waits_until_it_may_start(tmp_path: Path) -> None:
    """A worker is not started again before what its predecessor left has been settled."""
    may_start: list[bool] = []
    child = Child("s", SLEEPS, os.environ, tmp_path / "log", may_start=lambda: bool(may_start))
    child.start()
    child.kill()
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert not child.tend()
    may_start.append(True)
    await_true(child.tend)
    child.stop(LIMIT_S)


def test_child_that_lived_long_starts_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Deaths count in a row: one a month does not make the wait grow."""
    monkeypatch.setattr(children, "_LIVED_S", 0.0)
    child = Child("sleeper", SLEEPS, os.environ, tmp_path / "log")
    child.start()
    with caplog.at_level("WARNING", "somaflow.service"):
        for _ in range(3):
            child.kill()
            await_true(child.tend)
    child.stop(LIMIT_S)
    assert 3 == caplog.text.count("starts again in 1 s")


def test_log_is_cut_while_its_writer_goes_on(tmp_path: Path) -> None:
    """What a log holds moves to older ones, of which few are kept; its file stays the same."""
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(b"x" * 200 + b"%d" % number)
            cut_log(log, limit_bytes=100, kept=2)
        writer.write(b"last")
        cut_log(log, limit_bytes=100, kept=2)
    assert b"last" == log.read_bytes()
    assert b"4" == (tmp_path / "log.1").read_bytes()[-1:]
    assert b"3" == (tmp_path / "log.2").read_bytes()[-1:]
    assert {"log", "log.1", "log.2"} == {path.name for path in tmp_path.iterdir()}


def test_old_files_are_removed(tmp_path: Path) -> None:
    """What nobody has written for longer than is kept goes; the rest, and folders, stay."""
    for name in ("old", "new"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).touch()
    then = time.time() - 3 * 86_400
    os.utime(tmp_path / "folder" / "old", (then, then))
    remove_old(tmp_path, days=2)
    assert ["folder", "new"] == sorted(path.name for path in tmp_path.rglob("*"))
    remove_old(tmp_path / "none", days=2)
