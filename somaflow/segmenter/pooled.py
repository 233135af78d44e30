"""One net on one device, kept busy by many tiles at once.

Enters: planes of tiles, from any thread, in the caller's memory. Leaves: flows and objects of each,
in the same memory. Crops of all tiles that wait are pooled into batches of one size, so that what a
tile comes to does not depend on its neighbours; a last batch is filled up with zeros. One thread
feeds the net, two others follow the flows of finished tiles on streams of their own: copies, net
and dynamics overlap. Out of memory halves the batch.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from somaflow.errors import DeviceError, SomaflowError
from somaflow.segmenter.crops import CROP_PX, Crops, plan_crops
from somaflow.segmenter.dynamics import find_objects

_LOGGER = logging.getLogger(__name__)
_BATCHES_AHEAD = 2
# Dynamics are hundreds of short steps, each of which waits until the net leaves it some room.
_N_FINISHERS = 2
_FIRST = -1  # as CUDA counts priorities of streams


@dataclass(frozen=True, eq=False)
class Request:
    """A tile whose flows and objects are asked for, and the memory for both."""

    planes: NDArray[np.float32]
    """(2, Y, X) as the net sees DAPI and marker; overwritten by the flows."""
    found: NDArray[np.int32]
    """(Y, X), receives what `dynamics.find_objects` finds."""
    cellprob_threshold: float
    done: Callable[[Exception | None], None]
    """Called once, from a thread of the net, when both are there, or with what went wrong."""


@dataclass(eq=False)
class _Tile:
    request: Request
    crops: Crops
    padded: Any
    """(3, Y, X) tensor on the device, in the net's dtype."""
    total: Any
    """(3, Y, X) float32 tensor on the device: what the net said so far, weighted."""
    n_left: int
    is_answered: bool = False


@dataclass
class NetTimes:
    """Seconds that a `PooledNet` spent, as its threads saw them."""

    net_s: float = 0.0
    """On batches of the net; on CUDA told from events, so that waiting counts nowhere."""
    objects_s: float = 0.0
    """On following flows, finding objects and copying them out; where two tiles are, once."""
    n_tiles: int = 0
    notes: list[str] = field(default_factory=list)
    """What a reader of the log should know, as a batch that was halved."""


class _Room:
    """The device: shared by whoever works on it, or one's alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_inside, self._is_taken = 0, False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Waits while one is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._n_inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lets nobody in any more, and waits until all others are out."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = True
            self._changed.wait_for(lambda: not self._n_inside)
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()


class PooledNet:
    """A net that serves many tiles at once; `close` it, or use it as a context.

    Args:
        net: with its weights, on its device, as of `load_net`; it is put in evaluation mode.
        batch_size: crops a batch.
        note: on the net, for the reader of `times`.
    """

    def __init__(self, net: Any, batch_size: int, note: str = "") -> None:
        """Starts the threads."""
        self.net, self.batch_size = net.eval(), batch_size
        self.times = NetTimes(notes=[note] if note else [])
        self._device = net.device
        self._is_cuda = net.device.type == "cuda"
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[_Tile, Any] | None] = queue.SimpleQueue()
        self._waiting: deque[tuple[_Tile, int]] = deque()
        self._ahead: deque[tuple[Any, Any]] = deque()
        self._room = _Room()
        self._constants: dict[Any, Any] = {}
        self._answering = threading.Lock()
        self._counting, self._n_finishing, self._finishing_since = threading.Lock(), 0, 0.0
        self._threads = [
            threading.Thread(target=self._feed_net, name="net", daemon=True),
            *(
                threading.Thread(target=self._finish_tiles, name="objects", daemon=True)
                for _ in range(_N_FINISHERS)
            ),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def device(self) -> str:
        """Where the net runs: `cuda` or `cpu`."""
        return str(self._device.type)

    def submit(self, request: Request) -> None:
        """Takes a tile; its planes must stay until `request.done` is called."""
        self._requests.put(request)

    def close(self) -> None:
        """Finishes what was submitted, then ends the threads."""
        self._requests.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "PooledNet":
        """The net itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def _feed_net(self) -> None:
        import torch

        try:
            with torch.inference_mode(), self._stream():
                while self._take_requests():
                    self._run_batch()
                while self._waiting:
                    self._run_batch()
                while self._ahead:
                    self._await_batch()
        except Exception as error:  # noqa: BLE001 - whatever it is, someone waits for it
            self._refuse_all(error)
        for _ in range(_N_FINISHERS):
            self._finished.put(None)

    def _refuse_all(self, error: Exception) -> None:
        """Answers what waits, and whatever else is asked until the end: the device is lost."""
        for tile, _ in self._waiting:
            self._answer(tile, error)
        while (request := self._requests.get()) is not None:
            request.done(_as_told(error))

    def _take_requests(self) -> bool:
        """Prepares tiles until a batch is full or none waits; False: no more will come."""
        while len(self._waiting) < self.batch_size:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                if self._waiting:
                    return True  # rather a batch with gaps than an idle device
                while self._ahead:
                    self._await_batch()
                request = self._requests.get()
            if request is None:
                return False
            try:
                self._with_room(self._begin_tile, request)
            except Exception as error:  # noqa: BLE001 - whatever it is, someone waits for it
                request.done(_as_told(error))
        return True

    def _with_room(self, do: Callable[[Any], None], what: Any) -> None:
        """Does it; if the device is full, once more while nothing else is on it."""
        import torch

        try:
            with self._room.shared():
                do(what)
        except torch.OutOfMemoryError:
            with self._room.alone():
                if self._is_cuda:
                    torch.cuda.synchronize(self._device)
                    torch.cuda.empty_cache()
                do(what)

    def _begin_tile(self, request: Request) -> None:
        import torch

        height, width = request.planes.shape[1:]
        crops = plan_crops(height, width)
        (y, x), options = crops.before, {"device": self._device}
        padded = torch.zeros((3, *crops.padded), dtype=self.net.dtype, **options)
        planes = torch.from_numpy(request.planes).to(self._device, non_blocking=True)
        padded[:2, y : y + height, x : x + width] = planes
        total = torch.zeros((3, *crops.padded), dtype=torch.float32, **options)
        tile = _Tile(request, crops, padded, total, len(crops.starts))
        self._waiting.extend((tile, number) for number in range(len(crops.starts)))

    def _run_batch(self) -> None:
        import torch

        taken = [self._waiting.popleft() for _ in range(min(self.batch_size, len(self._waiting)))]
        taken = [(tile, number) for tile, number in taken if not tile.is_answered]
        if not taken:
            return
        try:
            with self._room.shared():
                self._launch(taken)
        except torch.OutOfMemoryError as error:
            self._waiting.extendleft(reversed(taken))
            self._halve(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, someone waits for it
            for tile, _ in taken:
                self._answer(tile, error)
        while len(self._ahead) >= _BATCHES_AHEAD:
            self._await_batch()

    def _launch(self, taken: list[tuple[_Tile, int]]) -> None:
        import torch

        batch = torch.zeros(
            (self.batch_size, 3, CROP_PX, CROP_PX), dtype=self.net.dtype, device=self._device
        )
        for place, (tile, number) in enumerate(taken):
            y, x = tile.crops.starts[number]
            batch[place] = tile.padded[:, y : y + CROP_PX, x : x + CROP_PX]
        started = self._mark()
        outputs = self.net(batch)[0].float()
        # Nothing is added before the whole batch has been through the net: it can be tried again.
        for place, (tile, number) in enumerate(taken):
            y, x = tile.crops.starts[number]
            part = tile.total[:, y : y + CROP_PX, x : x + CROP_PX]
            part.addcmul_(outputs[place], self._taper(tile.crops))
            tile.n_left -= 1
        stopped = self._mark()
        self._ahead.append((started, stopped))
        for tile in {id(tile): tile for tile, _ in taken if tile.n_left == 0}.values():
            self._finished.put((tile, stopped))

    def _await_batch(self) -> None:
        """Lets the host be no more than a batch or two ahead of the device."""
        started, stopped = self._ahead.popleft()
        if self._is_cuda:
            stopped.synchronize()
            self.times.net_s += started.elapsed_time(stopped) / 1000
        else:
            self.times.net_s += stopped - started

    def _halve(self, error: Exception) -> None:
        import torch

        if self.batch_size == 1:
            for tile, _ in self._waiting:
                self._answer(tile, DeviceError(f"a device must hold one crop of a tile: {error}"))
            return
        while self._ahead:
            self._await_batch()
        if self._is_cuda:
            torch.cuda.empty_cache()
        note = f"out of memory with {self.batch_size} crops a batch, going on with half of it"
        self.batch_size //= 2
        self.times.notes.append(note)
        _LOGGER.warning("%s: %s", note, str(error).splitlines()[0])

    def _answer(self, tile: _Tile, error: Exception | None) -> None:
        """Tells the tile's owner, once, whichever thread has something to tell first."""
        with self._answering:
            is_first, tile.is_answered = not tile.is_answered, True
        if is_first:
            tile.request.done(None if error is None else _as_told(error))

    def _finish_tiles(self) -> None:
        import torch

        with torch.inference_mode(), self._stream(_FIRST) as stream:
            while (item := self._finished.get()) is not None:
                tile, ready = item
                if tile.is_answered:
                    continue
                try:
                    if stream is not None:
                        ready.synchronize()
                    with self._finishing():
                        self._with_room(self._finish_tile, tile)
                        if stream is not None:
                            stream.synchronize()
                except Exception as error:  # noqa: BLE001 - whatever it is, someone waits for it
                    self._answer(tile, error)
                    continue
                with self._counting:
                    self.times.n_tiles += 1
                self._answer(tile, None)

    @contextmanager
    def _finishing(self) -> Iterator[None]:
        """Counts the time in which any tile is finished."""
        with self._counting:
            if self._n_finishing == 0:
                self._finishing_since = time.perf_counter()
            self._n_finishing += 1
        try:
            yield
        finally:
            with self._counting:
                self._n_finishing -= 1
                if self._n_finishing == 0:
                    self.times.objects_s += time.perf_counter() - self._finishing_since

    def _finish_tile(self, tile: _Tile) -> None:
        import torch

        request, crops = tile.request, tile.crops
        (y, x), (height, width) = crops.before, request.found.shape
        said = tile.total / self._weight(crops)
        flows = said[:2, y : y + height, x : x + width].contiguous()
        cellprob = said[2, y : y + height, x : x + width].contiguous()
        found = find_objects(flows, cellprob, request.cellprob_threshold)
        torch.from_numpy(request.planes).copy_(flows, non_blocking=True)
        torch.from_numpy(request.found).copy_(found, non_blocking=True)

    def _taper(self, crops: Crops) -> Any:
        return self._constant(("taper", CROP_PX), crops.taper)

    def _weight(self, crops: Crops) -> Any:
        return self._constant(crops.padded, crops.weight)

    def _constant(self, name: Any, values: NDArray[np.float64]) -> Any:
        import torch

        if name not in self._constants:
            self._constants[name] = torch.from_numpy(values).float().to(self._device)
        return self._constants[name]

    @contextmanager
    def _stream(self, priority: int = 0) -> Iterator[Any]:
        """Makes a stream of the calling thread's own current, and gives it; on CPUs None."""
        import torch

        if not self._is_cuda:
            yield None
            return
        stream = torch.cuda.Stream(self._device, priority=priority)
        with torch.cuda.stream(stream):
            yield stream

    def _mark(self) -> Any:
        import torch

        if not self._is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _as_told(error: Exception) -> Exception:
    """The error as the tile's owner is to see it: too large a tile, or a device that fails."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return MemoryError(f"a tile must fit on the device: {str(error).splitlines()[0]}")
    if isinstance(error, SomaflowError | ValueError | MemoryError):
        return error
    return DeviceError(
        f"a net must run on its device, it failed with {type(error).__name__}: "
        f"{str(error).splitlines()[0] if str(error) else 'no message'}; look at the device"
    )
