"""No server or flow outlives the command that started it."""

import os
import subprocess
import sys
import time

import pytest

PARENT = """
import subprocess, sys
from somaflow.processes import die_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                         preexec_fn=die_with_parent)
print(child.pid, flush=True)
child.wait()
"""


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as handle:  # noqa: PTH123
            return handle.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_child_dies_with_a_killed_parent() -> None:
    """After kill -9 of the parent the child is gone within seconds."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def test_child_ends_in_good_order_when_its_parent_is_told_to_terminate() -> None:
    """SIGTERM is passed on; the parent waits for the child and ends with its exit code."""
    child = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    script = (
        "import sys\n"
        "from somaflow.processes import run_child\n"
        f"sys.exit(run_child([sys.executable, '-c', {child!r}]))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert parent.stdout is not None
    assert "ready\n" == parent.stdout.readline()
    parent.terminate()
    assert 7 == parent.wait(timeout=30)
