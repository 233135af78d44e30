"""Each channel of a tile from its 1st to its 99th percentile, bit for bit as Cellpose scales it.

Enters: one channel as it was read. Leaves: float32. A channel of 8 or 16 bit is counted once and
scaled by a table of its values; ``transforms.normalize_img`` (4.2.1.1) sorts it.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

# transforms.normalize99: percentiles, the least distance between them, and the size from which on
# it takes but a part of the pixels.
_LOW, _HIGH, _LEAST_SPAN, _ALL_PX = 1, 99, 1e-3, 224**3
_COUNTED = (np.uint8, np.uint16)


def can_count(plane: NDArray[Any]) -> bool:
    """Whether `scale_by_count` takes a channel: 8 or 16 bit, and of no more than 11 Mpx."""
    return plane.dtype in _COUNTED and plane.size <= _ALL_PX


def scale_by_count(plane: NDArray[Any]) -> NDArray[np.float32]:
    """(Y, X) float32, 0 at the 1st percentile and 1 at the 99th; all 0 where nothing varies."""
    counts = _count(np.ascontiguousarray(plane).ravel(), np.iinfo(plane.dtype).max + 1)
    seen = np.cumsum(counts)
    values = np.arange(len(counts), dtype=np.float32)
    low, high = (_percentile(values, seen, share) for share in (_LOW, _HIGH))
    if not high - low > _LEAST_SPAN:
        return np.zeros(plane.shape, np.float32)
    values -= low
    values /= high - low
    return values[plane]


def _percentile(values: NDArray[np.float32], seen: NDArray[np.int64], percent: int) -> np.float32:
    """``np.percentile`` of float32 pixels from how many lie at or below each value.

    Numpy (2.4, _function_base_impl.py) finds the place in float64, interpolates in float32, and
    above half the way measures from the upper neighbour.
    """
    last = int(seen[-1]) - 1
    place = last * (percent / 100)
    before = int(place)
    lower, upper = (
        values[np.searchsorted(seen, min(index, last), side="right")]
        for index in (before, before + 1)
    )
    way = place - before
    step = upper - lower
    return np.float32(upper - step * (1 - way) if way >= 0.5 else lower + step * way)


@numba.njit(cache=True, nogil=True)
def _count(pixels: np.ndarray, n_values: int) -> np.ndarray:
    counts = np.zeros(n_values, np.int64)
    for pixel in pixels:
        counts[pixel] += 1
    return counts
