"""What workers know and do: their own end, and how trainings in them save themselves and stop."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from distributed import Worker, WorkerPlugin, get_worker

from somaflow.clocks import JumpBack
from somaflow.privacy import DonorCodes
from tasks.privacy import use_codes

# The trainer is imported where one may run: a worker of E5 needs none of it.
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_GRACE_S = 30.0
CLOCK_LIMIT_S = 5.0
"""A clock that was set back by more is a fault."""


class Workers(Protocol):
    """Workers of a site, as a task in the flow's process sees them."""

    def compute(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function(*arguments)` returns on some worker; raises what it raises.

        Raises:
            WorkersDied: if it, or what ran beside it, was the death of several workers in a row.
            SiteError: if no worker can be had any more.
        """

    def retire(self, address: str) -> None:
        """Lets a worker go."""

    def log_of(self, worker: str) -> str:
        """Where a worker writes its log; empty for one that writes none of its own."""


class WorkersDied(Exception):
    """Several workers in a row died over the same work."""


class KnowsItsEnd(WorkerPlugin):
    """Notes when the worker will retire (`--lifetime`)."""

    name = "knows-its-end"

    def setup(self, worker: Worker) -> None:
        """Called as the worker starts."""
        self.lifetime_s: float | None = worker.lifetime
        self.ends_at = time.monotonic() + (worker.lifetime or 0.0)

    def time_left(self) -> tuple[float, float] | None:
        """See the function of that name."""
        if self.lifetime_s is None:
            return None
        return self.ends_at - time.monotonic(), self.lifetime_s


def time_left() -> tuple[float, float] | None:
    """Seconds until this worker retires, and how long it lives in all; None: it has no end."""
    plugin: Any = get_worker().plugins[KnowsItsEnd.name]
    left: tuple[float, float] | None = plugin.time_left()
    return left


class KeepsDonorsPrivate(WorkerPlugin):
    """Tells a worker whose donors it must not name to Prefect."""

    name = "keeps-donors-private"

    def __init__(self, output: Path, codes: DonorCodes | None) -> None:
        """For the study of that output folder; None = it shows its donors."""
        self._output, self._codes = output, codes

    def setup(self, worker: Worker) -> None:
        """Called as the worker starts."""
        use_codes(self._output, self._codes)


class LeavesWhenClockJumps(WorkerPlugin):
    """Ends a worker whose clock was set back, so that its nanny starts it anew.

    Its messages would wait as long as the clock jumped; work on it is done elsewhere.
    """

    name = "leaves-when-clock-jumps"

    def setup(self, worker: Worker) -> None:
        """Called as the worker starts."""
        threading.Thread(target=self._run, daemon=True).start()

    @staticmethod
    def _run() -> None:
        jump = JumpBack()
        while jump.seconds() < CLOCK_LIMIT_S:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)


class StopTrainings(WorkerPlugin):
    """Passes the end of a worker on to the trainings in its threads.

    Python gives signals to the main thread alone, where a worker keeps its loop; tasks run beside
    it. SLURM sends SIGTERM before it kills, and SIGUSR1 ahead of that if it is asked to.
    """

    name = "stop-trainings"

    def setup(self, worker: Worker) -> None:
        """Installs the handlers; afterwards a signal does what it did before."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                _chain(number)

    def teardown(self, worker: Worker) -> None:
        """The worker ends in good order: so do its trainings."""
        stop_trainings("its worker ends")


def stop_trainings(reason: str) -> int:
    """Asks the trainings of this process to save themselves and stop; returns how many run."""
    if "somaflow.training" not in sys.modules:
        return 0
    from somaflow.training import request_stop

    return request_stop(reason)


def _chain(number: signal.Signals) -> None:
    former = signal.getsignal(number)

    def handle(received: int, frame: FrameType | None) -> Any:
        reason = f"its worker received {signal.Signals(received).name}"
        stop_trainings(reason)
        if callable(former):
            former(received, frame)
        elif received != signal.SIGUSR1 and former != signal.SIG_IGN:
            signal.signal(received, signal.SIG_DFL)
            threading.Thread(target=_end, args=(received, reason), daemon=True).start()

    signal.signal(number, handle)


def _end(number: int, reason: str) -> None:
    """Lets the trainings save themselves, then has the signal do what it is for."""
    deadline = time.monotonic() + _GRACE_S
    while stop_trainings(reason) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(os.getpid(), number)
