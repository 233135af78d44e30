"""A person's terminal: one shell, in a copy of the repository, with a home and disks of its own."""

import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.mounts import own_mounts

_LIMIT_S = 540.0
_DONE = "somaflow-session-typed"
# What `git clone` brings, as far as a service needs it.
_FOLDERS = ("somaflow", "tasks", "flows", "infra", "deployments")
_FILES = ("prefect.yaml", "Makefile", "pyproject.toml", "constraints.txt")


class Terminal:
    """One shell, from its start to its end."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """Opens it.

        Args:
            folder: empty; becomes the home.
            environment: variables beside those of this process.
        """
        self.home, self.clone = folder, copy_repository(folder / "somaflow")
        self._lines: queue.Queue[str] = queue.Queue()
        self._shell = subprocess.Popen(
            [*own_mounts(), "bash", "--norc", "--noprofile"],
            cwd=self.clone,
            env={
                **{name: value for name, value in os.environ.items() if "PREFECT" not in name},
                "HOME": str(folder),
                "PYTHONPATH": str(self.clone),
                # .venv is this process's: `make` is not to install anything.
                "MAKEFLAGS": "INSTALLED=",
                "COLUMNS": "200",
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self, commands: str) -> str:
        """Types commands, and returns what they printed once they have ended."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{{\n{commands}}} </dev/null\necho {_DONE}\n")
        self._shell.stdin.flush()
        printed: list[str] = []
        deadline = time.monotonic() + _LIMIT_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{commands}did not end: {''.join(printed)}") from None
            if line.strip() == _DONE:
                return "".join(printed)
            printed.append(line)

    def seen(self, path: Path) -> Path:
        """A path as the shell sees it, on the disks that it has mounted."""
        return Path(f"/proc/{self._shell.pid}/root") / path.relative_to("/")

    def close(self) -> None:
        """Ends the shell."""
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()

    def _listen(self) -> None:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            self._lines.put(line)


def copy_repository(folder: Path) -> Path:
    """What `git clone` and the first `make` leave in a folder."""
    for name in _FOLDERS:
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in _FILES:
        shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    return folder
