"""Cells as horizontal runs of pixels: the form in which every later pass skips the background.

Enters: one (Y, X) label image. Leaves: `CellRuns`. A tile of a million pixels and 500 cells is
about 15,000 runs, so areas, moments, hulls and intensities cost a fraction of a pass over pixels,
and labels with gaps or very large ids need no table as long as the largest id.
Refuses: anything but a 2-D array of integers >= 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from somaflow.errors import LabelsError

# Up to here a lookup table (4 bytes an id) is quicker than sorting; beyond it would fill memory.
_LOOKUP_LIMIT = 4_000_000


@dataclass(frozen=True)
class CellRuns:
    """Maximal horizontal runs of one label, in reading order (row by row, left to right).

    Attributes:
        ids: (N,) int64, the labels present, ascending, without 0.
        cell: (R,) int64, index into `ids` of each run.
        row: (R,) int64, image row of each run.
        start: (R,) int64, first column of each run.
        stop: (R,) int64, one past the last column of each run.
    """

    ids: np.ndarray
    cell: np.ndarray
    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def find_runs(labels: np.ndarray) -> CellRuns:
    """Returns the runs of all cells of a label image.

    Args:
        labels: (Y, X) integers, 0 = background; ids may have gaps and be of any size.

    Raises:
        LabelsError: if `labels` is not 2-D, not of integers, or holds negative ids.
    """
    labels = check_labels(labels)
    runs = find_paired_runs(labels, labels)
    lowest = runs.one.min(initial=0)
    if lowest < 0:
        raise LabelsError(
            f"labels must be ids >= 0 that fit in int64, got {lowest}; 0 is background"
        )
    ids, cell = compact_ids(runs.one)
    row, start = np.divmod(runs.first, max(labels.shape[1], 1))
    return CellRuns(ids=ids, cell=cell, row=row, start=start, stop=start + runs.length)


class PairedRuns(NamedTuple):
    """Horizontal runs in which neither of two images changes, without those that are 0 in both."""

    first: np.ndarray
    """(R,) int64, position of its first pixel in the flattened image, ascending."""
    length: np.ndarray
    """(R,) int64, pixels."""
    one: np.ndarray
    """(R,) int64, its value in the first image."""
    other: np.ndarray
    """(R,) int64, its value in the second image."""


def find_paired_runs(one: np.ndarray, other: np.ndarray) -> PairedRuns:
    """Returns the runs of two images of one shape.

    Args:
        one: (Y, X) integers; ids above those of int64 come out negative.
        other: (Y, X) integers, as `one`; it may be the same image.
    """
    if one.size == 0:
        return PairedRuns(*(np.empty(0, dtype=np.int64) for _ in range(4)))
    # Equality needs the bytes alone, so four unsigned types serve every integer and byte order.
    plain, others = (
        np.ascontiguousarray(image).view(f"u{image.itemsize}") for image in (one, other)
    )
    marks = np.zeros(-(-one.shape[1] // 8) * 8, dtype=np.uint8)
    first, length, in_one, in_other = _list_runs(plain, others, marks, marks.view(np.uint64))
    return PairedRuns(
        first,
        length,
        in_one.view(one.dtype).astype(np.int64),
        in_other.view(other.dtype).astype(np.int64),
    )


@numba.njit(cache=True)
def _list_runs(
    one: np.ndarray, other: np.ndarray, marks: np.ndarray, words: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row by row, so that what is read twice is still in the nearest cache.

    Args:
        one: (Y, X) unsigned.
        other: (Y, X) unsigned.
        marks: (X + up to 7,) uint8 zeros, a multiple of 8 of them.
        words: the same memory as uint64.

    Returns:
        First pixel, length and both values of each run that is not 0 in both.
    """
    height, width = one.shape
    starts = np.empty(width + 1, dtype=np.int64)
    room = 4 * width + 1024
    first, length = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    in_one, in_other = np.empty(room, dtype=one.dtype), np.empty(room, dtype=other.dtype)
    n_runs = 0
    for row in range(height):
        if n_runs + width >= room:
            first, length = _with_room(first), _with_room(length)
            in_one, in_other = _with_room(in_one), _with_room(in_other)
            room = first.size
        ones, others = one[row], other[row]
        marks[0] = 1
        for place in range(1, width):
            marks[place] = (ones[place] != ones[place - 1]) | (others[place] != others[place - 1])
        # Places and runs are written in any case and kept if they count: a branch would often
        # be guessed wrong. Most words of 8 places are 0.
        n_starts = 0
        for number in range(words.size):
            if words[number] != 0:
                for place in range(8 * number, min(8 * number + 8, width)):
                    starts[n_starts] = place
                    n_starts += marks[place]
        starts[n_starts] = width
        for number in range(n_starts):
            start = starts[number]
            first[n_runs] = row * width + start
            length[n_runs] = starts[number + 1] - start
            in_one[n_runs], in_other[n_runs] = ones[start], others[start]
            n_runs += (ones[start] != 0) | (others[start] != 0)
    return first[:n_runs], length[:n_runs], in_one[:n_runs], in_other[:n_runs]


@numba.njit(cache=True)
def _with_room(values: np.ndarray) -> np.ndarray:
    """A copy with twice the room."""
    larger = np.empty(2 * values.size, dtype=values.dtype)
    larger[: values.size] = values
    return larger


def check_labels(labels: np.ndarray) -> np.ndarray:
    """Returns `labels` as an array, once it is known to be a label image.

    Raises:
        LabelsError: if `labels` is not 2-D or not of integers.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise LabelsError(
            f"labels must be (Y, X) integers, got {labels.shape} {labels.dtype}; "
            "pass the instance label image, not the image or a probability map"
        )
    return labels


def compact_ids(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct ids, ascending, and the index of each value among them.

    Args:
        values: (R,) int64, all >= 0.

    Returns:
        ids: (N,) int64 and index: (R,) int64 with ``ids[index] == values``.
    """
    if values.size == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if values.max() >= _LOOKUP_LIMIT:
        ids, index = np.unique(values, return_inverse=True)
        return ids, index.astype(np.int64, copy=False)
    present = np.zeros(int(values.max()) + 1, dtype=np.bool_)
    present[values] = True
    rank = np.cumsum(present, dtype=np.int64) - 1
    return np.flatnonzero(present), rank[values]
