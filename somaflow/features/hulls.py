"""Area of the convex hull of each cell, counted in pixels without rounding.

Enters: runs of cells and their boxes. Leaves: (N,) pixel counts.

The hull is that of the middles of all pixel edges, and a pixel counts when its centre lies in the
hull or on its border, as in scikit-image's ``convex_hull_image``. In doubled coordinates those
middles are integers: a pixel (y, x) reaches from (2y - 1, 2x) to (2y + 1, 2x) and from (2y, 2x - 1)
to (2y, 2x + 1). Only the leftmost and rightmost point of each doubled row can be a corner.
"""

from collections.abc import Mapping

import numba
import numpy as np

from somaflow.features.runs import CellRuns

# Marks a doubled row without pixels, in a cell of several parts.
_NO_LEFT = np.iinfo(np.int64).max
_NO_RIGHT = np.iinfo(np.int64).min


def convex_areas(runs: CellRuns, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the pixels in the convex hull of each cell, (N,) int64.

    Args:
        runs: of N cells.
        columns: bbox_min_y_px and bbox_max_y_px of the cells, each (N,) int64.
    """
    top = columns["bbox_min_y_px"]
    # A cell h rows high has 2h + 1 doubled rows, from 2 * top - 1 on.
    ends = np.cumsum(2 * (columns["bbox_max_y_px"] - top) + 1)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), ends])
    left = np.full(offsets[-1], _NO_LEFT, dtype=np.int64)
    right = np.full(offsets[-1], _NO_RIGHT, dtype=np.int64)
    _spread_runs(runs.cell, runs.row, runs.start, runs.stop, top, offsets, left, right)
    pixels = np.zeros(runs.ids.size, dtype=np.int64)
    _count_in_hulls(offsets, left, right, pixels)
    return pixels


@numba.njit(cache=True)
def _spread_runs(
    cell: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    top: np.ndarray,
    offsets: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
) -> None:
    """Writes the leftmost and rightmost doubled x of each doubled row of each cell."""
    for run in range(cell.size):
        index = cell[run]
        middle = offsets[index] + 2 * (row[run] - top[index]) + 1
        first, last = 2 * start[run], 2 * (stop[run] - 1)
        for at, reach in ((middle - 1, 0), (middle, 1), (middle + 1, 0)):
            left[at] = min(left[at], first - reach)
            right[at] = max(right[at], last + reach)


@numba.njit(cache=True)
def _count_in_hulls(
    offsets: np.ndarray, left: np.ndarray, right: np.ndarray, pixels: np.ndarray
) -> None:
    chain = np.empty(left.size, dtype=np.int64)
    for index in range(pixels.size):
        first, end = offsets[index], offsets[index + 1]
        # A right side is a left side seen in a mirror.
        mirrored = -right[first:end]
        lowest = _first_columns(left[first:end], chain)
        highest = _first_columns(mirrored, chain)
        for y in range(lowest.size):
            pixels[index] += max(0, -highest[y] - lowest[y] + 1)


@numba.njit(cache=True)
def _first_columns(left: np.ndarray, chain: np.ndarray) -> np.ndarray:
    """Returns the first pixel column inside the hull in each pixel row, (H,) int64.

    Args:
        left: (2H + 1,) leftmost doubled x of each doubled row, or no mark.
        chain: at least as long; scratch for the rows of the hull's corners.
    """
    n_corners = 0
    for y in range(left.size):
        if left[y] == _NO_LEFT or left[y] == -_NO_RIGHT:
            continue
        while n_corners >= 2:
            a, b = chain[n_corners - 2], chain[n_corners - 1]
            # b stays a corner only where it lies left of the line from a to y.
            if (left[b] - left[a]) * (y - a) < (left[y] - left[a]) * (b - a):
                break
            n_corners -= 1
        chain[n_corners] = y
        n_corners += 1
    columns = np.empty(left.size // 2, dtype=np.int64)
    for corner in range(n_corners - 1):
        a, b = chain[corner], chain[corner + 1]
        # Doubled rows of pixel centres are the odd ones, here as in the image.
        for y in range(a + 1 - a % 2, b + 1, 2):
            doubled = left[a] * (b - a) + (left[b] - left[a]) * (y - a)
            # Smallest integer x with 2 x >= doubled / (b - a), rounded up without floats.
            columns[y // 2] = -((-doubled) // (2 * (b - a)))
    return columns
