"""A Prefect server for one command, where no other is configured.

It keeps its SQLite database in the study's output folder, listens on loopback only, and ends with
the command, even if that is killed.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from somaflow.errors import OutputError
from somaflow.files import make_folder
from somaflow.processes import die_with_parent

_START_LIMIT_S = 180
_STOP_LIMIT_S = 20
_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
}


@contextmanager
def temporary_server(home: Path) -> Iterator[str]:
    """Starts a server with its database under `home`, yields its API's URL, and stops it.

    Raises:
        OutputError: if the server does not answer; the message quotes its last words.
    """
    process, url, log = _start(home)
    try:
        _await(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(home: Path) -> tuple[subprocess.Popen[bytes], str, Path]:
    make_folder(home)
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    log = home / "server.log"
    environment = {
        **os.environ,
        **_SETTINGS,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,
    }
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the flow first, then the server in good order
            preexec_fn=die_with_parent,
        )
    return process, url, log


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    words = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise OutputError(
        f"Prefect server must answer at {url}, it did not; last words in {log}: "
        f"{' / '.join(words) or 'none'}"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
