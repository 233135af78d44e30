"""The segmenter of a worker process, loaded once."""

from functools import lru_cache
from typing import Literal

from somaflow.recipes import Recipe
from somaflow.segmenter import Segmenter, limit_threads, load_segmenter

Device = Literal["auto", "cuda", "cpu"]


def worker_segmenter(recipe: Recipe, device: Device) -> Segmenter:
    """The recipe's model on `device`; a second call in the same worker returns the same object."""
    return _load(recipe.model, recipe.model_sha256, device)


@lru_cache(maxsize=1)  # one model a worker: a second would not fit a GPU beside the first
def _load(model: str, sha256: str | None, device: Device) -> Segmenter:
    limit_threads(1)  # workers share the machine; more threads slow each other down
    return load_segmenter(model, device=device, sha256=sha256)
