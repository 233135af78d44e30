"""What counts as a Prefect API that answers."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.server import (
    ServerGoneError,
    await_server,
    password_file,
    server_errors,
    temporary_server,
)


@flow
def nothing() -> None:
    """Does nothing."""


class Answer(BaseHTTPRequestHandler):
    """Answers everything with one status and body."""

    status = 200
    body = b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

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


def test_run_that_begins_without_its_server_says_so() -> None:
    """Where nobody listens, a flow's start ends in words, not in a traceback of Prefect's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
    with (
        temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        pytest.raises(ServerGoneError, match="must answer at http://127"),
        server_errors(),
    ):
        nothing()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"{}", "another password .401.; set PREFECT_API_AUTH_STRING"),
        (403, b"{}", "forbids that .403."),
        (429, b"{}", "asked too much .429."),
        (500, b"{}", "fails .500.; look into its log"),
        (503, b"{}", "fails .503.; look into its log"),
        (200, b'"2.20.3"', "of another version .Found incompatible versions"),
        (200, b"<html>", "another program; set PREFECT_API_URL"),
    ],
)
def test_run_that_may_not_begin_says_why(
    url: str, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, words: str
) -> None:
    """Each refusal has its own words, and what to do about it."""
    monkeypatch.setattr(Answer, "status", status)
    monkeypatch.setattr(Answer, "body", body)
    with (
        temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        pytest.raises(ServerGoneError, match=f"must answer at {url}, .*{words}.*; then run again"),
        server_errors(),
    ):
        nothing()


def test_other_failures_stay_what_they_are() -> None:
    """Only a server that cannot be reached is named as one."""
    with pytest.raises(RuntimeError, match="another"), server_errors():
        raise RuntimeError("another")


def test_server_that_other_machines_reach_asks_for_its_password(tmp_path: Path) -> None:
    """Without it nobody reads or starts anything; it is in the settings and in the owner's file."""
    with temporary_server(tmp_path, "0.0.0.0") as settings:
        url = f"{settings['PREFECT_API_URL']}/flows/filter"
        user, word = settings["PREFECT_API_AUTH_STRING"].split(":")
        asked = [httpx.post(url, json={}, auth=auth) for auth in (None, (user, word), (user, "x"))]
        secret = password_file(tmp_path)
        assert [401, 200, 401] == [answer.status_code for answer in asked]
        assert f"{user}:{word}\n" == secret.read_text()
        assert 0o600 == secret.stat().st_mode & 0o777


def test_server_of_this_machine_alone_asks_for_none(api_url: str) -> None:
    """Where nobody else can connect, the dashboard opens without a password."""
    assert 200 == httpx.post(f"{api_url}/flows/filter", json={}).status_code
