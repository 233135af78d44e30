"""What a Dask worker does when it is told to go: trainings in it save themselves and stop."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from distributed import Worker, WorkerPlugin

from somaflow.training import request_stop

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_GRACE_S = 30.0


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
        request_stop("its worker ends")


def _chain(number: signal.Signals) -> None:
    former = signal.getsignal(number)

    def handle(received: int, frame: FrameType | None) -> Any:
        reason = f"its worker received {signal.Signals(received).name}"
        request_stop(reason)
        if callable(former):
            former(received, frame)
        elif received != signal.SIGUSR1 and former != signal.SIG_IGN:
            signal.signal(received, signal.SIG_DFL)
            threading.Thread(target=_end, args=(received, reason), daemon=True).start()

    signal.signal(number, handle)


def _end(number: int, reason: str) -> None:
    """Lets the trainings save themselves, then has the signal do what it is for."""
    deadline = time.monotonic() + _GRACE_S
    while request_stop(reason) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(os.getpid(), number)
