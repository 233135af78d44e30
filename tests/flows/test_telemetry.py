"""Nobody outside hears of a run: what a command and all its processes connect to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_WATCH = """\
import os, sys
def note(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    line = f"{host}\\n".encode()
    descriptor = os.open(os.environ["HOSTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)
sys.addaudithook(note)
"""
_UNSET = {
    *("CI", "GITHUB_ACTIONS", "DO_NOT_TRACK"),  # with any of these Prefect is silent anyhow
    *("PREFECT_API_URL", "PREFECT_SERVER_ANALYTICS_ENABLED"),
}


def run_watched(folder: Path, *command: str) -> tuple[int, set[str]]:
    """Exit code, and every host that the command or a process of it looked up or connected to."""
    (folder / "watch").mkdir(exist_ok=True)
    (folder / "watch" / "sitecustomize.py").write_text(_WATCH)
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
    environment |= {
        "PYTHONPATH": f"{folder / 'watch'}:{REPOSITORY}",
        "HOSTS": str(folder / "hosts"),
        "PREFECT_HOME": str(folder / "home"),
    }
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, env=environment, check=False)
    hosts = folder / "hosts"
    return done.returncode, set(hosts.read_text().split("\n")) - {""} if hosts.exists() else set()


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
def test_run_speaks_to_this_machine_alone(study: Path, tmp_path: Path) -> None:
    """Flow, its server, workers: no host but loopback, not even looked up."""
    code, hosts = run_watched(tmp_path, "-m", "somaflow", "run", "e0-prepare", str(study))
    assert 0 == code
    assert "127.0.0.1" in hosts
    assert set() == hosts - {"127.0.0.1", "localhost", "::1", "0.0.0.0", "None"}


@pytest.mark.parametrize("room", ["flows.__main__", "infra.check"])
def test_entry_points_tell_prefect_before_it_is_imported(tmp_path: Path, room: str) -> None:
    """Prefect's client reads DO_NOT_TRACK as it is imported."""
    code = (
        f"import sys, {room}, os\n"
        "assert 'prefect' not in sys.modules\n"
        "sys.exit(0 if os.environ['DO_NOT_TRACK'] == '1' else 1)"
    )
    assert 0 == run_watched(tmp_path, "-c", code)[0]


def test_watch_would_see_telemetry(tmp_path: Path) -> None:
    """The watch itself works: a look-up of another host is noted."""
    code = "import socket\ntry: socket.getaddrinfo('telemetry.invalid', 80)\nexcept OSError: pass"
    assert {"telemetry.invalid"} == run_watched(tmp_path, "-c", code)[1]
