"""Cells as horizontal runs of pixels: the form in which every later pass skips the background.

Enters: one (Y, X) label image. Leaves: `CellRuns`. A tile of a million pixels and 500 cells is
about 15,000 runs, so areas, moments, hulls and intensities cost a fraction of a pass over pixels,
and labels with gaps or very large ids need no table as long as the largest id.
Refuses: anything but a 2-D array of integers >= 0.
"""

from dataclasses import dataclass

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
    first = run_starts(labels)
    # Each row begins a run, so a run ends where the next begins.
    length = np.diff(first, append=labels.size)
    values = labels.ravel()[first]
    cells = np.flatnonzero(values)
    first, length, values = first[cells], length[cells], values[cells].astype(np.int64)
    if values.size and values.min() < 0:
        raise LabelsError(
            f"labels must be ids >= 0 that fit in int64, got {values.min()}; 0 is background"
        )
    ids, cell = compact_ids(values)
    row, start = np.divmod(first, max(labels.shape[1], 1))
    return CellRuns(ids=ids, cell=cell, row=row, start=start, stop=start + length)


def run_starts(*images: np.ndarray) -> np.ndarray:
    """Returns where, in reading order, any of the images changes or a row begins.

    Args:
        images: one or more of one shape (Y, X).

    Returns:
        (S,) int64, positions in the flattened image, ascending.
    """
    width = images[0].shape[1]
    if images[0].size == 0:
        return np.empty(0, dtype=np.int64)
    begins = np.zeros(images[0].size, dtype=np.bool_)
    begins[::width] = True
    for image in images:
        # Equality needs the bytes alone, so four unsigned types serve every integer and byte order.
        _mark_changes(image.ravel().view(f"u{image.itemsize}"), begins)
    return np.flatnonzero(begins)


@numba.njit(cache=True)
def _mark_changes(values: np.ndarray, begins: np.ndarray) -> None:
    """Sets `begins` where a value differs from the one before; one vectorised pass."""
    for place in range(1, values.size):
        begins[place] |= values[place] != values[place - 1]


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
