"""The supervisor with processes that stand in for server and worker."""

import os
import sys
from pathlib import Path

import pytest

from infra.service import supervisor
from infra.service.children import Child
from infra.service.home import Home
from infra.service.settings import ServiceSettings
from infra.service.supervisor import Supervisor
from somaflow.errors import OutputError
from tests.infra.services import Service, await_true

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A folder without a service."""
    return Service.in_folder(tmp_path / "home").home


def make(home: Home, server: Child) -> Supervisor:
    """A supervisor with a server that was started already; nobody answers at its port."""
    made = Supervisor(home, ServiceSettings(port=Service.in_folder(home.folder).port))
    made._children.append(server)
    server.start()
    return made


def test_server_that_hangs_is_ended_and_started_again(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """One that runs and does not answer ten times in a row is another one afterwards."""
    server = Child("server", SLEEPS, os.environ, home.log("server"))
    made = make(home, server)
    hanging = server.known
    assert hanging is not None
    with caplog.at_level("WARNING", "somaflow.service"):
        for _ in range(9):
            made._look_at_server()
        assert hanging.is_alive
        made._look_at_server()
    assert not hanging.is_alive
    assert "has not answered 10 times; it is ended" in caplog.text
    await_true(server.tend)
    assert server.known not in (None, hanging)
    server.stop(1)


def test_server_that_starts_is_not_taken_for_one_that_hangs(home: Home) -> None:
    """Looks at a server that is gone, and waits for its start, do not count."""
    server = Child("server", SLEEPS, os.environ, home.log("server"))
    made = make(home, server)
    for _ in range(9):
        made._look_at_server()
    server.kill()
    made._look_at_server()
    await_true(server.tend)
    made._look_at_server()
    assert server.known is not None
    assert server.known.is_alive
    server.stop(1)


def test_full_disk_does_not_end_the_service(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written now is written later; the service goes on, and says so."""
    made = Supervisor(home, ServiceSettings(port=Service.in_folder(home.folder).port))
    looks: list[str] = []

    def tend() -> None:
        looks.append("")
        if len(looks) == 1:
            raise OutputError("the disk is full")
        made._end.set()

    monkeypatch.setattr(supervisor, "_POLL_S", 0.01)
    monkeypatch.setattr(made, "_start", lambda: None)
    monkeypatch.setattr(made, "_tend", tend)
    with caplog.at_level("WARNING", "somaflow.service"):
        made.run()
    assert 2 == len(looks)
    assert "goes on, although the disk is full" in caplog.text
    assert home.record() is None
