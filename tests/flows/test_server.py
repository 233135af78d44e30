"""What counts as a Prefect API that answers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import ServerGoneError, await_server


class Answer(BaseHTTPRequestHandler):
    """Answers everything with one status."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()


@pytest.mark.parametrize("status", [200, 401, 404])
def test_server_that_asks_for_a_password_is_there(
    url: str, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A hosted API without a health page, or behind a login, is not taken for a dead one."""
    monkeypatch.setattr(Answer, "status", status)
    with temporary_settings({PREFECT_API_URL: url}):
        await_server(limit_s=0)


def test_server_that_fails_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in front of a server that is down does not answer for it."""
    monkeypatch.setattr(Answer, "status", 503)
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ServerGoneError, match="must answer at http://127"),
    ):
        await_server(limit_s=0)


def test_without_a_configured_api_there_is_nothing_to_wait_for() -> None:
    """A flow called from Python brings Prefect's own server in its process."""
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        await_server(limit_s=0)
