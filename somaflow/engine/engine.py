"""Worker processes around one device: tiles in, results out in order, memory bounded.

Enters: jobs, from one thread or several. Leaves: a `TileDone` each, in order. Each worker process
does one tile at a time, from the file to encoded labels; on a GPU they share one net in this
process, which pools the crops of all their tiles. So as many tiles are in memory as there are
workers, whatever their number and size; a tile on which a worker dies is tried once more and then
set aside, and the others go on.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from somaflow.engine.jobs import Job
from somaflow.engine.profile import DEVICE_NET, DEVICE_OBJECTS, Stopwatch
from somaflow.engine.slots import Slot, Views
from somaflow.engine.work import TileDone, set_aside
from somaflow.errors import InferenceError, SomaflowError
from somaflow.recipes import Recipe
from somaflow.segmenter import THRESHOLD
from somaflow.segmenter.device import pin_memory, unpin_memory
from somaflow.segmenter.fused import BATCH_SIZE
from somaflow.segmenter.pooled import NetTimes, PooledNet, Request
from somaflow.timing import Seconds

_ATTEMPTS = 2
_GRACE_S = 30.0
# Results that wait for an earlier one, for each worker: they are small, but not nothing.
_AHEAD_A_WORKER = 4


@dataclass(frozen=True)
class Asked:
    """A job as a worker gets it."""

    job: Job
    is_remote: bool
    """Whether the net runs in the engine's own process."""


def count_cores() -> int:
    """Cores that this process may use, as a cluster's job limits them; of 2 at least, 32 at most.

    Processes beyond the cores still help, since each waits for the net most of its time.
    """
    mine = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return min(max(len(mine), 2), 32)


class Engine:
    """Segments tiles in worker processes; `close` it, or use it as a context.

    Args:
        n_workers: processes; each holds its libraries, a tile, and a net where none is shared.
        nets: gives the net of a set on a shared device, and a note on it that users should see
            or nothing, as `segmenter.make_fast`; None: each worker loads the net on its CPU.
        batch_size: crops a batch of a shared net.
    """

    def __init__(
        self,
        n_workers: int,
        nets: Callable[[Recipe], tuple[Any, str]] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        """Starts the workers."""
        self._nets, self._batch_size = nets, batch_size
        self.stopwatch = Stopwatch()
        self._pooled: dict[tuple[str, str | None], PooledNet] = {}
        self._loading = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Job, Future[TileDone]] | None] = queue.SimpleQueue()
        self._attendants = [_Attendant(self) for _ in range(n_workers)]

    @property
    def n_workers(self) -> int:
        """Worker processes."""
        return len(self._attendants)

    def is_shared(self, recipe: Recipe) -> bool:
        """Whether the recipe's net runs here, for all workers, or in each of them."""
        return self._nets is not None and recipe.model != THRESHOLD

    def prepare(self, recipe: Recipe) -> str:
        """Loads the net of one set, if it is shared; says on which device it runs.

        Raises:
            ModelError: if the model is not what the recipe asks for.
            DeviceError: if the device is not there.
        """
        return self._pooled_net(recipe).device if self.is_shared(recipe) else "cpu"

    def run(self, jobs: Iterable[Job]) -> Iterator[TileDone]:
        """The result of each job, in order; takes jobs as results are taken.

        Raises:
            DeviceError: if the device or a net on it fails.
        """
        waiting: deque[Future[TileDone]] = deque()
        try:
            for job in jobs:
                waiting.append(self._submit(job))
                if len(waiting) > _AHEAD_A_WORKER * self.n_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def times(self) -> list[NetTimes]:
        """What the shared nets did so far."""
        return [pooled.times for pooled in self._pooled.values()]

    def device_seconds(self) -> Seconds:
        """What the shared nets did so far."""
        times = self.times()
        if not times:
            return {}
        return {
            DEVICE_NET: sum(one.net_s for one in times),
            DEVICE_OBJECTS: sum(one.objects_s for one in times),
        }

    def notes(self) -> list[str]:
        """What slows the nets down: a batch that was halved, no compiler."""
        return [note for one in self.times() for note in one.notes]

    def pids(self) -> list[int]:
        """Ids of the worker processes that are alive."""
        return [pid for attendant in self._attendants if (pid := attendant.pid) is not None]

    def close(self) -> None:
        """Ends the workers once they are done with their tiles; jobs that wait are dropped.

        One that is not done in half a minute is killed.
        """
        while True:
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                break
            if item is not None:
                item[1].cancel()
        for _ in self._attendants:
            self._jobs.put(None)
        deadline = time.monotonic() + _GRACE_S
        for attendant in self._attendants:
            attendant.join(max(deadline - time.monotonic(), 0))
        for attendant in self._attendants:
            attendant.kill()
        for pooled in self._pooled.values():
            pooled.close()

    def __enter__(self) -> "Engine":
        """The engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    def _submit(self, job: Job) -> Future[TileDone]:
        future: Future[TileDone] = Future()
        self._jobs.put((job, future))
        return future

    def _pooled_net(self, recipe: Recipe) -> PooledNet:
        assert self._nets is not None
        key = recipe.model, recipe.model_sha256
        with self._loading:
            if key not in self._pooled:
                net, note = self._nets(recipe)
                self._pooled[key] = PooledNet(net, self._batch_size, note)
            return self._pooled[key]


class _Attendant(threading.Thread):
    """Has one worker process at a time, gives it jobs and answers what it asks."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="attendant", daemon=True)
        self._engine = engine
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        self._pinned: NDArray[np.uint8] | None = None
        self._idle = threading.Event()  # no request of this worker is with a net
        self._idle.set()
        self.start()

    def run(self) -> None:
        """Takes jobs until there are no more."""
        # Here, not in the thread that makes the engine: a worker ends with the thread that made it.
        with suppress(InferenceError):  # the first job tries again, and its owner is told
            self._start_worker()
        while (item := self._engine._jobs.get()) is not None:
            job, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._do(job))
            except Exception as error:  # noqa: BLE001 - it is raised where the result is taken
                future.set_exception(error)
        if self._process is not None:
            self._end_worker()

    @property
    def pid(self) -> int | None:
        """Of the worker process, if it is alive."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def kill(self) -> None:
        """Ends the worker whatever it does, and this thread with it."""
        self._is_killed = True
        process = self._process
        if self.is_alive() and process is not None:
            process.kill()
        self.join()

    def _do(self, job: Job) -> TileDone:
        for _ in range(_ATTEMPTS):
            if self._process is None:
                self._start_worker()
            try:
                return self._ask(job)
            except (EOFError, ConnectionError) as error:
                if self._is_killed:
                    raise InferenceError(
                        f"a tile must be done within {_GRACE_S:.0f} s of the end, "
                        f"{job.row['tile_id']} was not; its worker was killed"
                    ) from error
                code = self._end_worker()
        reason = f"its worker process died on it twice, the last time with exit code {code}"
        return set_aside(job.row, f"{reason} (-9: out of memory?)", segmenter_failed=True)

    def _ask(self, job: Job) -> TileDone:
        self._pipe.send(Asked(job, self._engine.is_shared(job.recipe)))
        while True:
            kind, *message = self._pipe.recv()
            if kind == "net":
                self._pass_on(*message)
                continue
            (done,) = message
            if isinstance(done, Exception):
                raise done
            assert isinstance(done, TileDone)
            return done

    def _pass_on(self, shape: tuple[int, int], recipe: Recipe) -> None:
        """Has the shared net see the planes in the slot, and the worker told when it has."""
        pipe = self._pipe

        def answer(error: Exception | None) -> None:
            self._idle.set()
            try:
                pipe.send(error)
            except OSError:
                return  # the worker died meanwhile; who waits for it knows

        try:
            pooled = self._engine._pooled_net(recipe)
            views = self._open_slot(shape, pinned=pooled.device == "cuda")
        except (SomaflowError, OSError) as error:
            answer(error)
            return
        self._idle.clear()
        pooled.submit(Request(views.planes, views.found, recipe.cellprob_threshold, answer))

    def _open_slot(self, shape: tuple[int, int], pinned: bool) -> Views:
        """Arrays in the slot for a tile of that shape, in memory that a GPU copies by itself."""
        if self._slot.fits(*shape):
            return self._slot.open(*shape)
        self._unpin()  # growing moves it
        views = self._slot.open(*shape)
        if pinned and pin_memory(self._slot.whole()):
            self._pinned = self._slot.whole()
        return views

    def _unpin(self) -> None:
        if self._pinned is not None:
            unpin_memory(self._pinned)
            self._pinned = None

    def _start_worker(self) -> None:
        self._slot = Slot()
        self._pipe, theirs = Pipe()
        descriptors = theirs.fileno(), self._slot.descriptor
        command = [sys.executable, "-m", "somaflow.engine.worker", *map(str, descriptors)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        try:
            self._process = subprocess.Popen(command, pass_fds=descriptors, env=environment)
        except OSError as error:
            self._pipe.close()
            self._slot.close()
            raise InferenceError(
                f"a worker process must start, it did not ({error}); give the job more memory, or "
                "fewer cores"
            ) from error
        finally:
            theirs.close()

    def _end_worker(self) -> int:
        """Ends the process, and says its exit code."""
        self._idle.wait()  # the net may still write into the slot
        with suppress(OSError):  # it is dead already
            self._pipe.send(None)
        self._pipe.close()
        assert self._process is not None
        code = self._process.wait()
        self._process = None
        self._unpin()
        self._slot.close()
        return code
