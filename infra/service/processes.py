"""Processes that were started earlier, perhaps by someone who is gone: are they still the same?

A process id alone says nothing after a restart of the machine, or months later: another process
may have it. With the time at which it began, it is one process and no other.
"""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = "SOMAFLOW_SERVICE_WORKER"
"""Environment variable of the worker and of all that it starts: the service's folder."""
_POLL_S = 0.2
_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "environ").exists()


@dataclass(frozen=True)
class Known:
    """One process, and no other that may have its id later.

    Attributes:
        pid: its id.
        start: when it began; a text that is the same as long as it lives.
    """

    pid: int
    start: str

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return start_of(self.pid) == self.start

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal; if it is gone, nobody gets one."""
        try:
            if not hasattr(os, "pidfd_open"):
                if self.is_alive:
                    os.kill(self.pid, number)
                return
            # Held by a descriptor, the process cannot be replaced between look and signal.
            handle = os.pidfd_open(self.pid)
            try:
                if self.is_alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        except ProcessLookupError:
            return


def know(pid: int) -> Known | None:
    """The process that has this id now; None if there is none."""
    start = start_of(pid)
    return None if start is None else Known(pid, start)


def start_of(pid: int) -> str | None:
    """When the process of this id began; None if there is none, or it has ended already."""
    if not _HAS_PROC:
        asked = ["ps", "-o", "lstart=", "-p", str(pid)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout.strip() or None
    try:
        # The name, in brackets, may hold anything; the state and 19 fields more come after it.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def find_marked(folder: Path) -> list[Known]:
    """The worker of the service in `folder` and all that it started, to the last grandchild.

    Those of this user, without this process; where there is no /proc, none.
    """
    if not _HAS_PROC:
        return []
    wanted = f"{MARK}={folder}".encode()
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(know(int(entry.name)))
        except OSError:
            continue  # gone meanwhile, or another user's
    return [known for known in found if known is not None]


def run_as(user: str | None) -> dict[str, Any]:
    """Arguments with which `subprocess` runs something as another user; None = as this one."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def end(processes: Iterable[Known], limit_s: float, ask: signal.Signals = signal.SIGTERM) -> None:
    """Asks processes to end, by a signal, and kills those that have not within the limit (s)."""
    left = [process for process in processes if process.is_alive]
    for process in left:
        process.send(ask)
    await_end(left, limit_s)
    for process in left:
        process.send(signal.SIGKILL)
    await_end(left, limit_s)


def await_end(processes: Iterable[Known], limit_s: float) -> None:
    """Returns when all have ended, or after the limit (s)."""
    left = list(processes)
    deadline = time.monotonic() + limit_s
    while left and time.monotonic() < deadline:
        left = [process for process in left if process.is_alive]
        time.sleep(_POLL_S if left else 0)
