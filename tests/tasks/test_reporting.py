"""Progress: what it says, and that a dashboard that does not answer holds nothing up."""

import logging
import threading
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tasks import reporting
from tasks.reporting import Progress, show_places


class FakeServer:
    """Takes what progress bars send, or does not answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[float, str]] = []
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        monkeypatch.setattr(reporting, "create_progress_artifact", self.create)
        monkeypatch.setattr(reporting, "update_progress_artifact", self.update)
        monkeypatch.setattr(reporting, "_ARTIFACT_INTERVAL_S", 0.0)

    def create(self, progress: float, key: str, description: str) -> object:
        self.update(None, progress, description)
        return uuid4()

    def update(self, _: object, progress: float, description: str) -> None:
        assert self.answers.wait(60)
        if self.error is not None:
            raise self.error
        self.sent.append((progress, description))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    return FakeServer(monkeypatch)


def test_progress_says_how_many_how_fast_and_how_long(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 tiles in two seconds, 13,749 left: 32 a second, and seven minutes."""
    clock = [100.0]
    monkeypatch.setattr(reporting.time, "monotonic", lambda: clock[0])
    progress = Progress("Tiles segmented", total=14_749, unit="tiles", done=936)
    progress.advance(0)
    clock[0] += 2
    progress.advance(64, note="3 quarantined")
    expected = "1,000 of 14,749 tiles, 32 tiles/s, 7 min 10 s left, 3 quarantined"
    assert expected == progress.describe()
    progress.close()
    assert (100.0 * 1000 / 14_749, expected) == server.sent[-1]


def test_earlier_runs_tiles_are_no_rate(server: FakeServer) -> None:
    """What was done before this run says nothing about its speed."""
    progress = Progress("Tiles segmented", total=100, unit="tiles", done=50)
    progress.close()
    assert "50 of 100 tiles" == progress.describe()
    assert 50.0 == server.sent[-1][0]


def test_server_that_is_gone_is_said_once_and_told_later(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The work goes on, the log says once that the dashboard is deaf, the end is told to it."""
    progress = Progress("Tiles segmented", total=3, unit="tiles")
    progress._teller.await_told()
    server.error = httpx.ConnectError("refused")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            progress.advance(1)
            progress._teller.await_told()
    assert 1 == caplog.text.count("The dashboard does not hear of the progress")
    server.error = None
    progress.advance(1)
    progress.close()
    assert 100.0 == server.sent[-1][0]


def test_slow_server_does_not_hold_up_the_work(server: FakeServer) -> None:
    """Telling takes a thread's time, not the flow's."""
    server.answers.clear()
    progress = Progress("Tiles segmented", total=200, unit="tiles")
    for _ in range(200):
        progress.advance(1)
    assert [] == server.sent, "the flow waited for the server"
    server.answers.set()
    progress.close()
    assert 100.0 == server.sent[-1][0]


def test_places_are_named_each_with_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies where is a line each, its path to be copied as it stands."""
    made: dict[str, str] = {}
    monkeypatch.setattr(reporting, "create_markdown_artifact", made.update)
    show_places("outputs", "Outputs of cortex", "All of it:", {"Labels": Path("/study/labels")})
    assert ("outputs", "Outputs of cortex") == (made["key"], made["description"])
    assert "- Labels: `/study/labels`" in made["markdown"].splitlines()
