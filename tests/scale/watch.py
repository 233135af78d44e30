"""Runs a command and notes what it prints when, and what its processes take meanwhile."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

from tests.conftest import REPOSITORY

_INTERVAL_S = 0.5
_MB = 1e6


@dataclass
class Taken:
    """What the processes of one role took.

    Attributes:
        peak_mb: largest memory of any one of them (PSS: pages that several share are shared out).
        cpu_s: CPU time of all of them together, user and system.
    """

    peak_mb: float = 0.0
    cpu_s: float = 0.0


@dataclass
class Watched:
    """A command that has ended well.

    Attributes:
        wall_s: from its start to its end.
        lines: what it printed, each with the seconds since its start.
        taken: by role: "flow" (with Dask's client and scheduler), "workers", "server", "command".
        peak_mb: largest memory of all of them at one time.
    """

    wall_s: float
    lines: list[tuple[float, str]]
    taken: dict[str, Taken]
    peak_mb: float

    def find(self, words: str) -> list[tuple[float, str]]:
        """The lines that have `words` in them."""
        return [(when_s, line) for when_s, line in self.lines if words in line]


@dataclass
class _Samples:
    taken: dict[int, tuple[str, Taken]] = field(default_factory=dict)
    peak_mb: float = 0.0

    def add(self, root: psutil.Process) -> None:
        total_mb = 0.0
        for process in _family(root):
            try:
                role = _name_role(process.cmdline(), process.pid == root.pid)
                memory_mb = process.memory_full_info().pss / _MB
                times = process.cpu_times()
            except psutil.Error:  # it has just ended; its last sample stands
                continue
            total_mb += memory_mb
            _, taken = self.taken.setdefault(process.pid, (role, Taken()))
            taken.peak_mb = max(taken.peak_mb, memory_mb)
            taken.cpu_s = times.user + times.system
        self.peak_mb = max(self.peak_mb, total_mb)

    def by_role(self) -> dict[str, Taken]:
        roles: dict[str, Taken] = {}
        for role, one in self.taken.values():
            taken = roles.setdefault(role, Taken())
            taken.peak_mb = max(taken.peak_mb, one.peak_mb)
            taken.cpu_s += one.cpu_s
        return roles


def run_watched(*arguments: object, server: Mapping[str, str] | None = None) -> Watched:
    """Runs `somaflow` with these arguments, as a user would.

    Args:
        arguments: of the command line.
        server: settings of a running Prefect server; without them the command brings its own.

    Raises:
        RuntimeError: if it fails, with its last lines.
    """
    environment = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    environment |= {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **(server or {})}
    command = [sys.executable, "-m", "somaflow", *map(str, arguments)]
    begun = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment
        | dict(server or {})
        | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    samples, over = _Samples(), threading.Event()
    sampler = threading.Thread(target=_sample, args=(samples, process.pid, over))
    sampler.start()
    assert process.stdout is not None
    lines = [(time.monotonic() - begun, line.rstrip()) for line in process.stdout]
    code = process.wait()
    wall_s = time.monotonic() - begun
    over.set()
    sampler.join()
    if code:
        last = "\n".join(line for _, line in lines[-30:])
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{last}")
    return Watched(wall_s, lines, samples.by_role(), samples.peak_mb)


def _sample(samples: _Samples, pid: int, over: threading.Event) -> None:
    root = psutil.Process(pid)
    while not over.wait(_INTERVAL_S):
        samples.add(root)


def _family(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _name_role(command: list[str], is_root: bool) -> str:
    """Which part of a run a process is, from its command line."""
    words = " ".join(command)
    if is_root:
        return "command"
    if "prefect" in words or "uvicorn" in words:
        return "server"
    if "spawn_main" in words:
        return "workers"
    return "flow" if "flows" in command else "others"
