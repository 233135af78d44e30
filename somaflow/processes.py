"""Child processes that end with their parent, in good order if they can, at once if they must."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Makes the calling process end at once when its parent does, by whatever death (Linux only).

    To be passed as `preexec_fn`: a server or flow left behind by `kill -9` would hold its port and
    database for ever. SIGKILL, because a flow that is told to terminate while its server is gone
    goes on for minutes trying to say so; shards are committed whole, so nothing is lost.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether a process of that id runs, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def run_child(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> int:
    """Runs a command to its end and returns its exit code.

    SIGTERM is passed on, so that the child can end in good order; Ctrl-C reaches it by itself. In
    both cases this process waits for it.

    Args:
        command: what to run.
        environment: of the child; None = this process's.
        meanwhile: called once the child runs; what it raises ends the child and is passed on.
    """
    process = subprocess.Popen(command, env=environment, preexec_fn=die_with_parent)
    handlers = {
        signal.SIGTERM: lambda number, _frame: process.send_signal(number),
        signal.SIGINT: lambda _number, _frame: None,
    }
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        meanwhile()
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
