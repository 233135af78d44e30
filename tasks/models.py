"""The segmenter of a worker process, loaded once."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from somaflow.engine import Engine, RunsJobs, SerialEngine, count_cores
from somaflow.recipes import Recipe, Segments
from somaflow.segmenter import (
    THRESHOLD,
    Segmenter,
    ThresholdSegmenter,
    choose_device,
    limit_threads,
    load_net,
    load_segmenter,
    make_fast,
)

Device = Literal["auto", "cuda", "cpu"]


def worker_segmenter(recipe: Recipe, device: Device) -> Segmenter:
    """The recipe's model on `device`; a second call in the same worker returns the same object."""
    return _load(recipe.model, recipe.model_sha256, device)


def segmenter_loader(device: Device) -> Callable[[Recipe], Segments]:
    """What segments a recipe's tiles on one device: its net, or none for `threshold`."""

    def load(recipe: Recipe) -> Segments:
        if recipe.model == THRESHOLD:
            return ThresholdSegmenter()
        return worker_segmenter(recipe, device)

    return load


def worker_engine(recipe: Recipe, device: Device) -> RunsJobs:
    """What segments many tiles in this worker; a second call returns the same object.

    A worker with a GPU keeps it busy from as many processes as it has cores. One on a CPU does a
    tile at a time: its neighbours do the same.
    """
    models = {one.model for one in (recipe, *recipe.per_marker.values())}
    # To look for a GPU takes torch, which a worker without a net has no use for.
    if device == "cpu" or models == {THRESHOLD} or choose_device(device) == "cpu":
        return _serial_engine()
    return _gpu_engine()


@lru_cache(maxsize=1)
def _serial_engine() -> SerialEngine:
    return SerialEngine(segmenter_loader("cpu"))


@lru_cache(maxsize=1)
def _gpu_engine() -> Engine:
    def load(recipe: Recipe) -> tuple[Any, str]:
        return make_fast(load_net(recipe.model, "cuda", recipe.model_sha256)[0])

    return Engine(count_cores(), load)


def net_loader(device: Device) -> Callable[[Recipe], Segmenter]:
    """`worker_segmenter` for one device, for what asks the net itself."""
    return lambda recipe: worker_segmenter(recipe, device)


# A hybrid has up to a net a marker; in bf16 four of Cellpose-SAM take 2.5 GB of a GPU.
@lru_cache(maxsize=4)
def _load(model: str, sha256: str | None, device: Device) -> Segmenter:
    limit_threads(1)  # workers share the machine; more threads slow each other down
    return load_segmenter(model, device=device, sha256=sha256)
