"""Mean, spread and range of one channel inside each cell.

Enters: runs of cells and a (Y, X) plane. Leaves: `ChannelStatistics`. Refuses: planes that are not
2-D or not of real numbers.
"""

from typing import NamedTuple

import numba
import numpy as np

from somaflow.errors import TileError
from somaflow.features.runs import CellRuns


class ChannelStatistics(NamedTuple):
    """One channel in N cells, each (N,) float64; `std` is the population's (divided by n)."""

    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray


def channel_statistics(runs: CellRuns, area_px: np.ndarray, plane: np.ndarray) -> ChannelStatistics:
    """Returns mean, standard deviation, minimum and maximum of `plane` in each cell.

    Args:
        runs: of N cells.
        area_px: (N,) int64, pixels of each cell.
        plane: (Y, X), as `check_plane` returns it.
    """
    if plane.dtype in (np.uint8, np.uint16):
        return _whole_statistics(runs, area_px, plane)
    mean, low, high = channel_means(runs, area_px, plane)
    squares = np.zeros(runs.ids.size)
    _add_squares(runs.cell, runs.row, runs.start, runs.stop, plane, mean, squares)
    return ChannelStatistics(mean, np.sqrt(squares / area_px), low, high)


def _whole_statistics(runs: CellRuns, area_px: np.ndarray, plane: np.ndarray) -> ChannelStatistics:
    """Statistics of an 8 or 16 bit plane: one pass, and exact sums that no overflow can reach."""
    sums = np.zeros((4, runs.ids.size), dtype=np.int64)
    sums[2], sums[3] = np.iinfo(np.uint16).max, 0
    _add_whole_pixels(runs.cell, runs.row, runs.start, runs.stop, plane, sums)
    total, squares, low, high = sums
    mean = total / area_px
    # About the nearest whole number sums stay exact, and the rest of the way cancels nothing.
    centre = np.rint(mean).astype(np.int64)
    rest = total - area_px * centre
    near = squares - 2 * centre * total + area_px * centre * centre
    variance = (near - rest * rest / area_px) / area_px
    return ChannelStatistics(
        mean, np.sqrt(variance), low.astype(np.float64), high.astype(np.float64)
    )


def channel_means(
    runs: CellRuns, area_px: np.ndarray, plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean, minimum and maximum of `plane` in each cell, each (N,) float64.

    A mean never leaves the range of its pixels: added floats may round to just outside it, and a
    gate would then remove a cell of one constant value.
    """
    total = np.zeros(runs.ids.size)
    low = np.full(runs.ids.size, np.inf)
    high = np.full(runs.ids.size, -np.inf)
    _add_pixels(runs.cell, runs.row, runs.start, runs.stop, plane, total, low, high)
    return np.clip(total / area_px, low, high), low, high


def check_plane(plane: np.ndarray, name: str) -> np.ndarray:
    """Returns `plane` contiguous, in native byte order and in a dtype that numba knows.

    Args:
        plane: (Y, X), booleans, integers or real floats.
        name: what to call it in an error.

    Raises:
        TileError: if it is not 2-D or holds anything but real numbers.
    """
    plane = np.asarray(plane)
    if plane.ndim != 2 or plane.dtype.kind not in "buif":
        raise TileError(
            f"{name} must be (Y, X) real numbers a channel, got {plane.shape} {plane.dtype}; "
            "pass pixels as they were read"
        )
    if plane.dtype.kind == "b":
        return np.ascontiguousarray(plane).view(np.uint8)
    # numba knows neither half nor extended precision.
    known = plane.dtype.kind != "f" or plane.dtype.itemsize in (4, 8)
    dtype = plane.dtype.newbyteorder("=") if known else np.dtype(np.float64)
    return np.ascontiguousarray(plane, dtype=dtype)


@numba.njit(cache=True)
def _add_pixels(
    cell: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    plane: np.ndarray,
    total: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    for run in range(cell.size):
        index = cell[run]
        run_total, run_low, run_high = 0.0, low[index], high[index]
        for x in range(start[run], stop[run]):
            value = float(plane[row[run], x])
            run_total += value
            run_low = min(run_low, value)
            run_high = max(run_high, value)
        total[index] += run_total
        low[index] = run_low
        high[index] = run_high


@numba.njit(cache=True)
def _add_squares(
    cell: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    plane: np.ndarray,
    mean: np.ndarray,
    squares: np.ndarray,
) -> None:
    for run in range(cell.size):
        index = cell[run]
        run_squares = 0.0
        for x in range(start[run], stop[run]):
            deviation = float(plane[row[run], x]) - mean[index]
            run_squares += deviation * deviation
        squares[index] += run_squares


@numba.njit(cache=True)
def _add_whole_pixels(
    cell: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    plane: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Adds value, value squared, minimum and maximum of each cell into `sums` (4, N) int64."""
    for run in range(cell.size):
        index, y = cell[run], row[run]
        total, squares = np.int64(0), np.int64(0)
        low, high = sums[2, index], sums[3, index]
        for x in range(start[run], stop[run]):
            value = np.int64(plane[y, x])
            total += value
            squares += value * value
            low = min(low, value)
            high = max(high, value)
        sums[0, index] += total
        sums[1, index] += squares
        sums[2, index] = low
        sums[3, index] = high
