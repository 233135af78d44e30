"""The segmenter of a worker process, loaded once."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from somaflow.recipes import Recipe, Segments
from somaflow.segmenter import (
    THRESHOLD,
    Segmenter,
    ThresholdSegmenter,
    limit_threads,
    load_segmenter,
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


def net_loader(device: Device) -> Callable[[Recipe], Segmenter]:
    """`worker_segmenter` for one device, for what asks the net itself."""
    return lambda recipe: worker_segmenter(recipe, device)


# A hybrid has up to a net a marker; in bf16 four of Cellpose-SAM take 2.5 GB of a GPU.
@lru_cache(maxsize=4)
def _load(model: str, sha256: str | None, device: Device) -> Segmenter:
    limit_threads(1)  # workers share the machine; more threads slow each other down
    return load_segmenter(model, device=device, sha256=sha256)
