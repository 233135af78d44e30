"""A real SLURM for tests: daemons of this machine, on ports of their own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.sandbox import Sandbox


def require_slurm() -> None:
    """Skips the test where SLURM cannot run; in CI, which installs it, that is a failure."""
    if os.geteuid() != 0 or shutil.which("slurmctld") is None or shutil.which("munged") is None:
        missing = "a real SLURM needs root and the packages slurm-wlm and munge"
        if os.environ.get("SOMAFLOW_TEST_SLURM") == "required":
            pytest.fail(missing)
        pytest.skip(missing)


@contextmanager
def running_sandbox(folder: Path, nodes: int = 2) -> Iterator[Sandbox]:
    """A sandbox of so many nodes that ends with the block."""
    require_slurm()
    sandbox = Sandbox(folder, nodes, port=_free_ports(nodes + 1))
    try:
        sandbox.up()
        yield sandbox
    finally:
        sandbox.down()


def resume_nodes(sandbox: Sandbox) -> None:
    """Has every node take jobs again; one that was down may have come back by itself."""
    deadline = time.monotonic() + 30
    while ill := [node for node in sandbox.node_names() if _is_ill(sandbox, node)]:
        assert time.monotonic() < deadline, f"nodes {ill} must come back"
        for node in ill:
            command = ["scontrol", "update", f"NodeName={node}", "State=RESUME"]
            subprocess.run(command, env=sandbox.environment, capture_output=True, check=False)
        time.sleep(0.2)


def _is_ill(sandbox: Sandbox, node: str) -> bool:
    state = sandbox.ask("sinfo", "-h", "-N", "-n", node, "-o", "%T")
    return "drain" in state or "down" in state


def _free_ports(number: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(20000, 30000, number):
        probes = [socket.socket() for _ in range(number)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no free ports")
