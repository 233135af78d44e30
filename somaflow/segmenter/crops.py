"""Where the crops of a tile lie that the net sees, and how they are put together again.

As Cellpose 4.2.1.1 (core.run_net, transforms.make_tiles, transforms.average_tiles).
"""

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

CROP_PX = 256
"""Side of a crop."""
_OVERLAP_FRACTION = 0.1  # of a crop's side, at each of its edges


@dataclass(frozen=True, eq=False)
class Crops:
    """The crops of all tiles of one shape, in a tile padded with zeros."""

    before: tuple[int, int]
    """Rows and columns of padding before the tile."""
    padded: tuple[int, int]
    """(Y, X) of the padded tile."""
    starts: NDArray[np.int64]
    """(N, 2) first row and column of each crop in it."""
    side: tuple[int, int]
    """(Y, X) of a crop."""
    taper: NDArray[np.float64]
    """(Y, X) weight of a crop's pixels."""
    weight: NDArray[np.float64]
    """(Y, X) sum of the weights of all crops, over the padded tile."""


@lru_cache(maxsize=8)
def plan_crops(height_px: int, width_px: int) -> Crops:
    """The crops of a tile of that shape."""
    from cellpose import transforms

    y_before, y_after, x_before, x_after = transforms.get_pad_yx(
        height_px, width_px, min_size=(CROP_PX, CROP_PX)
    )
    padded = height_px + y_before + y_after, width_px + x_before + x_after
    side = min(CROP_PX, padded[0]), min(CROP_PX, padded[1])
    rows, columns = (_starts(length, size) for length, size in zip(padded, side, strict=True))
    starts = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    taper = transforms._taper_mask(ly=side[0], lx=side[1])
    weight = np.zeros(padded)
    for y, x in starts:
        weight[y : y + side[0], x : x + side[1]] += taper
    return Crops((y_before, x_before), padded, starts, side, taper, weight)


def _starts(length: int, size: int) -> NDArray[np.int64]:
    n = 1 if length <= CROP_PX else int(np.ceil((1 + 2 * _OVERLAP_FRACTION) * length / CROP_PX))
    return np.linspace(0, length - size, n).astype(np.int64)


def cut_crops(planes: NDArray[np.float32], crops: Crops) -> NDArray[np.float32]:
    """(N, C, Y, X) crops of a tile (C, Y, X)."""
    (y, x), (height, width) = crops.before, planes.shape[1:]
    padded = np.zeros((len(planes), *crops.padded), np.float32)
    padded[:, y : y + height, x : x + width] = planes
    windows = np.lib.stride_tricks.sliding_window_view(padded, crops.side, axis=(1, 2))
    # (C, N, Y, X) to (N, C, Y, X)
    return np.ascontiguousarray(windows[:, crops.starts[:, 0], crops.starts[:, 1]].swapaxes(0, 1))


def average_crops(
    outputs: NDArray[np.float32], crops: Crops, height_px: int, width_px: int
) -> NDArray[np.float32]:
    """(C, Y, X) weighted average of what the net says of each crop, (N, C, Y, X)."""
    y, x = crops.before
    average = _average(outputs, crops.starts, crops.taper, crops.weight)
    return np.ascontiguousarray(average[:, y : y + height_px, x : x + width_px])


@numba.njit(cache=True, nogil=True)
def _average(
    outputs: np.ndarray, starts: np.ndarray, taper: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Rounds where Cellpose does: to float32 after each crop, and after the division."""
    n_crops, n_channels, height, width = outputs.shape
    total = np.zeros((n_channels, weight.shape[0], weight.shape[1]), np.float32)
    for crop in range(n_crops):
        for channel in range(n_channels):
            for i in range(height):
                y, x = starts[crop, 0] + i, starts[crop, 1]
                for j in range(width):
                    former = np.float64(total[channel, y, x + j])
                    total[channel, y, x + j] = former + outputs[crop, channel, i, j] * taper[i, j]
    for channel in range(n_channels):
        for y in range(weight.shape[0]):
            for x in range(weight.shape[1]):
                total[channel, y, x] = np.float64(total[channel, y, x]) / weight[y, x]
    return total
