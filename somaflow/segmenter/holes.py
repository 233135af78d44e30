"""Holes filled and small objects removed: ``fill_holes_and_remove_small_masks`` of Cellpose.

Enters: labels 1..N. Leaves: the same labels as that function of Cellpose 4.2.1.1 (utils.py), which
fills object after object in their boxes, so that one may take the pixels of another in its hole.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


def fill_and_clean(labels: NDArray[Any], min_size_px: int) -> NDArray[Any]:
    """Labels (Y, X) of the same dtype with holes filled, those below `min_size_px` removed.

    Above a min_size_px of 0 they are numbered 1.. in the same order; at 0 none is removed, and the
    number of one that lies in a hole of another is left out.

    Args:
        labels: (Y, X) integers 0..N, every number present; may be changed.
        min_size_px: applied before and after filling.
    """
    compact = np.ascontiguousarray(labels, dtype=np.int32)
    if compact is labels:
        compact = labels.copy()
    if min_size_px > 0:
        _remove_small(compact, int(compact.max()), min_size_px)
    _fill_holes(compact, int(compact.max()))
    if min_size_px > 0:
        _remove_small(compact, int(compact.max()), min_size_px)
    return compact.astype(labels.dtype)


@numba.njit(cache=True, nogil=True)
def _remove_small(labels: np.ndarray, highest: int, min_size_px: int) -> None:
    """Numbers what is left 1.. in order of the first pixel."""
    areas = np.zeros(highest + 1, np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            areas[labels[y, x]] += 1
    if areas[0] == 0:
        # Cellpose takes the lowest number for the background, and never removes it.
        areas[np.nonzero(areas)[0][0]] = min_size_px
    numbers = np.zeros(highest + 1, np.int32)
    n_kept = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label == 0:
                continue
            if areas[label] < min_size_px:
                labels[y, x] = 0
                continue
            if numbers[label] == 0:
                n_kept += 1
                numbers[label] = n_kept
            labels[y, x] = numbers[label]


@numba.njit(cache=True, nogil=True)
def _fill_holes(labels: np.ndarray, highest: int) -> None:
    """Pixels that no path of background (up, down, left, right) links to the edge of the box."""
    boxes = np.zeros((highest + 1, 4), np.int64)
    boxes[:, 0], boxes[:, 2] = labels.shape
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] > 0:
                box = boxes[labels[y, x]]
                box[0], box[1] = min(box[0], y), y + 1
                box[2], box[3] = min(box[2], x), max(box[3], x + 1)
    for label in range(1, highest + 1):
        y_first, y_stop, x_first, x_stop = boxes[label]
        if y_stop - y_first > 2 and x_stop - x_first > 2:
            _fill_box(labels[y_first:y_stop, x_first:x_stop], label)


@numba.njit(cache=True, nogil=True)
def _fill_box(labels: np.ndarray, label: int) -> None:
    height, width = labels.shape
    outside = np.zeros((height, width), np.bool_)
    stack = np.empty(height * width, np.int64)
    n_waiting = 0
    for y in range(height):
        for x in range(width):
            is_edge = y == 0 or x == 0 or y == height - 1 or x == width - 1
            if is_edge and labels[y, x] != label:
                outside[y, x] = True
                stack[n_waiting] = y * width + x
                n_waiting += 1
    while n_waiting:
        n_waiting -= 1
        y, x = stack[n_waiting] // width, stack[n_waiting] % width
        for step_y, step_x in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            to_y, to_x = y + step_y, x + step_x
            if to_y < 0 or to_x < 0 or to_y >= height or to_x >= width:
                continue
            if labels[to_y, to_x] != label and not outside[to_y, to_x]:
                outside[to_y, to_x] = True
                stack[n_waiting] = to_y * width + to_x
                n_waiting += 1
    for y in range(height):
        for x in range(width):
            if not outside[y, x]:
                labels[y, x] = label
