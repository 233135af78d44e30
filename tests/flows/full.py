"""A Prefect server with a disk of its own, which can be filled, and with a password."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import START_LIMIT_S, await_server
from tests.mounts import with_mount

_DISK = "size=60m"
_PAGE = 4096


@dataclass(frozen=True)
class FullServer:
    """Where it listens, and its disk as this process sees it."""

    api_url: str
    password: str
    disk: Path

    def fill(self) -> None:
        """Takes all space that is left."""
        with (self.disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(_PAGE))

    def free(self) -> None:
        """Gives it back."""
        (self.disk / "filler").unlink()


@contextmanager
def small_server(folder: Path, password: str) -> Iterator[FullServer]:
    """Runs one whose home is a disk of 60 MB; skips the test where none can be mounted."""
    home = folder / "home"
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*with_mount(home, _DISK), *command], env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            await_server(START_LIMIT_S)
        # The mount is seen by the server's process alone, and through it.
        disk = Path(f"/proc/{server.pid}/root") / home.relative_to("/")
        yield FullServer(url, password, disk)
    finally:
        server.terminate()
        server.wait()
