"""Asking a running training to end in good order: by hand, by signal, or because time runs out.

A training looks for a request between two steps and between two val tiles, saves its state and
raises `TrainingStopped`. SLURM's ``--signal=USR1@120`` and a worker's SIGTERM mean the same: the
end is near.
"""

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from somaflow.errors import TrainingError
from somaflow.files import output_errors

LOCK_NAME = "training.lock"
_LOGGER = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_LOCK_POLL_S = 0.2
# Every training that runs in this process, in whatever thread.
_RUNNING: list["StopRequest"] = []


class StopRequest:
    """A wish that a training ends soon; may be asked from any thread or signal handler."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._reason: str | None = None

    def ask(self, reason: str) -> None:
        """Asks the training to stop; of several reasons the first one is kept."""
        # One assignment and no lock: a signal handler may interrupt the very thread that holds it.
        if self._reason is None:
            self._reason = reason

    @property
    def reason(self) -> str | None:
        """Why to stop, or None."""
        return self._reason


class StopAsked(Exception):
    """Leaves a scoring in the middle; its one argument is the reason. Never leaves the trainer."""


def request_stop(reason: str) -> int:
    """Asks every training that runs in this process to stop; returns how many there were.

    For the main thread of a process whose trainings run in other threads, as in a Dask worker.
    """
    running = tuple(_RUNNING)
    for stop in running:
        stop.ask(reason)
    return len(running)


@contextmanager
def listen(stop: StopRequest) -> Iterator[StopRequest]:
    """Lets `request_stop` reach `stop` for a while."""
    _RUNNING.append(stop)
    try:
        yield stop
    finally:
        _RUNNING.remove(stop)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns SIGTERM and SIGUSR1 into a request to stop, for all trainings of this process.

    Former handlers come back at the end. Pass what is yielded to `train_model`, so that a signal
    counts even before the training has begun.

    Raises:
        TrainingError: outside the main thread, where Python cannot handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise TrainingError(
            "signals must be handled in the main thread, this is "
            f"{threading.current_thread().name}; handle them there and call request_stop"
        )
    stop = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        reason = f"the process was sent {signal.Signals(number).name}"
        stop.ask(reason)
        request_stop(reason)

    former = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class Watch:
    """Says whether to stop now: because it was asked, or because the deadline is near."""

    def __init__(self, stop: StopRequest, deadline: float | None) -> None:
        """Watches `stop` and the clock; `deadline` is in unix seconds, None = no limit."""
        self._stop = stop
        self._deadline = deadline

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, negative after it; None without one."""
        return None if self._deadline is None else self._deadline - time.time()

    def find_reason(self, needed_s: float = 0.0) -> str | None:
        """Why to stop before doing anything that takes `needed_s` seconds, or None."""
        if self._stop.reason is not None:
            return self._stop.reason
        left_s = self.left_s
        if left_s is None or left_s > needed_s:
            return None
        return (
            f"{max(0.0, left_s):.0f} s were left before its deadline, and up to "
            f"{needed_s:.0f} s are needed for what comes next and to save"
        )


@contextmanager
def hold_folder(path: Path, check: Callable[[], None]) -> Iterator[None]:
    """Lets one training at a time work in a folder; the others wait, and call `check` meanwhile.

    Even without this lock no file could be torn, since all are replaced whole; but two trainings
    on different devices end with different weights, and one would overwrite the other's. The
    kernel drops the lock when its owner dies, by whatever death, so it never has to be removed.

    Args:
        path: the lock file, made if absent and left there.
        check: called while waiting; may raise to give up.

    Raises:
        OutputError: if the lock file cannot be made.
    """
    with output_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _wait_for_lock(descriptor, path, check)
        yield
    finally:
        os.close(descriptor)


def is_training(folder: Path) -> bool:
    """Whether a process, on any node, trains in the folder now; False where no lock can tell."""
    try:
        descriptor = os.open(Path(folder) / LOCK_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _wait_for_lock(descriptor: int, path: Path, check: Callable[[], None]) -> None:
    is_first = True
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if is_first:
                _LOGGER.warning("another process trains in %s; waiting for it", path.parent)
        except OSError as error:  # file systems without locks; safe all the same, see above
            _LOGGER.warning("cannot lock %s (%s); going on without", path, error.strerror)
            return
        is_first = False
        check()
        time.sleep(_LOCK_POLL_S)
