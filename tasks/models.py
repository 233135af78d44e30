"""The segmenter of a worker process, loaded once."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from somaflow.engine import Engine, RunsJobs, SerialEngine, count_cores
from somaflow.errors import ModelError
from somaflow.recipes import Recipe, Segments
from somaflow.segmenter import (
    THRESHOLD,
    Segmenter,
    choose_device,
    load_for,
    load_net,
    make_fast,
)

Device = Literal["auto", "cuda", "cpu"]


def segmenter_loader(device: Device) -> Callable[[Recipe], Segments]:
    """What segments a recipe's tiles on one device; loaded once in this process."""
    return lambda recipe: _load(recipe.model, recipe.model_sha256, device)


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
    """The same for what asks the net itself.

    The loader raises a `ModelError` for a model without one.
    """

    def load(recipe: Recipe) -> Segmenter:
        segmenter = _load(recipe.model, recipe.model_sha256, device)
        if not isinstance(segmenter, Segmenter):
            raise ModelError(
                f"a model must have a net for this, {recipe.model} of recipe {recipe.name} has "
                "none; choose another recipe"
            )
        return segmenter

    return load


# A hybrid has up to a net a marker; in bf16 four of Cellpose-SAM take 2.5 GB of a GPU.
@lru_cache(maxsize=4)
def _load(model: str, sha256: str | None, device: Device) -> Segments:
    return load_for(Recipe(model=model, model_sha256=sha256), device)
