"""A real SLURM for tests: daemons of this machine, on ports of their own."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.sandbox import Sandbox


@contextmanager
def running_sandbox(folder: Path, nodes: int = 2) -> Iterator[Sandbox]:
    """A sandbox of so many nodes that ends with the block.

    Where SLURM cannot run, tests are skipped; in CI, which installs it, that is a failure.
    """
    if os.geteuid() != 0 or shutil.which("slurmctld") is None or shutil.which("munged") is None:
        missing = "a real SLURM needs root and the packages slurm-wlm and munge"
        if os.environ.get("SOMAFLOW_TEST_SLURM") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    sandbox = Sandbox(folder, nodes, port=_free_ports(nodes + 1))
    try:
        sandbox.up()
        yield sandbox
    finally:
        sandbox.down()


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
