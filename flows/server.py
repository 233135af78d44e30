"""A Prefect server for one command, where no other is configured.

It keeps its SQLite database in the study's output folder, listens where the site's workers reach
it (loopback, where they are on this machine), and ends with the command, even if that is killed.
"""

import http.client
import ipaddress
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.specs import LOOPBACK
from somaflow.errors import OutputError
from somaflow.files import make_folder, output_errors, write_secret
from somaflow.processes import die_with_parent
from tasks.trouble import GONE, LATE, Trouble, find_trouble, read_status

START_LIMIT_S = 180
_POLL_S = 0.2
_STOP_LIMIT_S = 20
_BACK_LIMIT_S = float(os.environ.get("SOMAFLOW_SERVER_WAIT_S", "120"))
_AGAIN_AFTER_S = 5
# A busy server takes seconds to answer: it is slow, not gone.
_ANSWER_LIMIT_S = 15
_LEAST_FREE_BYTES = 1_000_000
_KEEP_RUNS_S = 365 * 86_400


class ServerGoneError(OutputError):
    """The Prefect API does not answer any more, or refuses to."""


@contextmanager
def temporary_server(home: Path, host: str = LOOPBACK) -> Iterator[dict[str, str]]:
    """Starts a server with its database under `home`, yields settings to reach it, and stops it.

    The settings are environment variables; PREFECT_API_URL is one of them. On another `host` than
    loopback it asks for a password, which is one of them too and lies in `home`.

    Raises:
        OutputError: if the server does not answer; the message quotes its last words.
    """
    with starting_server(home, host) as (settings, await_start):
        await_start()
        yield settings


@contextmanager
def starting_server(
    home: Path, host: str = LOOPBACK
) -> Iterator[tuple[dict[str, str], Callable[[], None]]]:
    """As `temporary_server`, for who has something to do while the server starts.

    Yields:
        The settings, and what waits until the server answers, or raises OutputError.
    """
    settings = _make_settings(home, host)
    log = home / "server.log"
    server = _Server(settings, log, host)

    def await_start() -> None:
        _await(server.process, settings["PREFECT_API_URL"], log)
        server.watch()

    try:
        yield settings, await_start
    finally:
        server.stop()


def is_configured() -> bool:
    """Whether a Prefect API is configured: by environment, profile, or a file in this folder."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    project = Path("pyproject.toml")
    if not (
        any(path.exists() for path in (profiles, Path("prefect.toml"), Path(".env")))
        or (project.exists() and "[tool.prefect" in project.read_text(encoding="utf-8"))
    ):
        return False  # two seconds sooner than Prefect's own answer: the server starts meanwhile
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def await_server(limit_s: float = _BACK_LIMIT_S) -> None:
    """Waits for the configured Prefect API to answer, should it be (re)starting.

    By default two minutes, or as many seconds as SOMAFLOW_SERVER_WAIT_S says.

    Raises:
        ServerGoneError: if it does not within the limit.
    """
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if url is None:
        return  # Prefect runs one in this very process
    deadline = time.monotonic() + limit_s
    while (trouble := _probe(url)) is not None:
        if time.monotonic() > deadline:
            error = _gone(url, trouble)
            # Said at once: Prefect's client goes on trying for minutes before the run may end.
            logging.getLogger("prefect.somaflow").error("%s", error)
            raise error
        time.sleep(_POLL_S)


@contextmanager
def server_errors() -> Iterator[None]:
    """Turns a Prefect API that does not answer any more, or refuses, into a ServerGoneError."""
    from prefect.settings import PREFECT_API_URL

    try:
        yield
    except Exception as error:
        if (trouble := find_trouble(error)) is None:
            raise
        raise _gone(str(PREFECT_API_URL.value()), trouble) from error


def _gone(url: str, trouble: Trouble) -> ServerGoneError:
    return ServerGoneError(
        f"Prefect server must answer at {url}, {trouble.found}; {trouble.advice}; then run again, "
        "what is finished is on the disk and is kept"
    )


class _Server:
    """The server's process, and another one in its place should it die."""

    def __init__(self, settings: dict[str, str], log: Path, host: str) -> None:
        self._settings, self._log, self._host = settings, log, host
        self._end, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.process = _start(settings, log, host)

    def watch(self) -> None:
        self._thread = threading.Thread(target=self._run, name="server-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self.process.terminate()
        try:
            self.process.wait(timeout=_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._ended.set()

    def _run(self) -> None:
        while not self._end.wait(1):
            if self.process.poll() is not None:
                print("The Prefect server has died; starting it again.", file=sys.stderr)
                self.process = _start(self._settings, self._log, self._host)
                self._end.wait(_AGAIN_AFTER_S)
        self._ended.wait()  # a process dies with the thread that started it


def password_file(home: Path) -> Path:
    """`user:password` that the server of `home` asks for, if others than this machine reach it."""
    return home / "password"


def _make_settings(home: Path, host: str) -> dict[str, str]:
    """What the server and its clients must agree on."""
    address = f"http://{host}:{_free_port(host)}/api"
    return _password_settings(home, host) | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": address,
        "PREFECT_UI_API_URL": address,
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Its database stays with the study: runs older than a year leave it.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(_KEEP_RUNS_S),
    }


def _password_settings(home: Path, host: str) -> dict[str, str]:
    if ipaddress.ip_address(host).is_loopback:
        return {}
    password = f"somaflow:{secrets.token_urlsafe(24)}"
    make_folder(home)
    write_secret(password_file(home), f"{password}\n".encode())
    return {"PREFECT_API_AUTH_STRING": password, "PREFECT_SERVER_API_AUTH_STRING": password}


def _start(settings: dict[str, str], log: Path, host: str) -> subprocess.Popen[bytes]:
    make_folder(log.parent)
    port = settings["PREFECT_API_URL"].removesuffix("/api").rsplit(":", 1)[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host]
    with output_errors(log), log.open("ab") as output:
        return subprocess.Popen(
            [*command, "--port", port],
            env={**os.environ, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the flow first, then the server in good order
            preexec_fn=die_with_parent,
        )


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if _probe(url) is None:
            return
        time.sleep(_POLL_S)
    if shutil.disk_usage(log.parent).free < _LEAST_FREE_BYTES:
        raise OutputError(
            f"output must be writable, the disk of {log.parent} is full; free space (a server's "
            "database takes 20 MB) and run again, finished work is kept"
        )
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [line.strip() for line in lines if "Error" in line] or lines
    raise OutputError(
        f"Prefect server must answer at {url}, it did not; its log {log} ends with: "
        f"{errors[-1] if errors else 'nothing'}"
    )


def _probe(url: str) -> Trouble | None:
    """What is wrong with the server, as far as it can be seen without a password."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_ANSWER_LIMIT_S):
            return None
    except urllib.error.HTTPError as error:
        # Below 500 it asks for a password, or has no such page: it is there.
        return None if error.code < 500 else read_status(error.code)
    except (OSError, http.client.HTTPException) as error:
        return LATE if isinstance(getattr(error, "reason", error), TimeoutError) else GONE


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
