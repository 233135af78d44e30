"""Whether an array is an instance label image, and if not, what went wrong when it was saved.

The rule on labels in several parts was set on 81 human-labelled images with 5,398 cells. Four of
them lie in two (8-connected) parts, because a crop cut the cell; these are at most 4 px apart, and
at most a quarter of the larger part's side. A binary or wrapped file has its parts all over. So:

- parts count as far apart from 5 px and from half the longer side of the label's largest part;
- one id alone in three or more parts, or in far-apart ones, is a binary mask;
- more than a tenth of all ids far apart is not an instance image; with uint8, a single one
  is enough where 255 is in use, since that is how ids wrap.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from somaflow.errors import LabelsError

_FAR_GAP_PX = 5
_FAR_GAP_SIDES = 0.5
_MOST_FAR_FRACTION = 0.1
# Above this, a table indexed by id costs more memory than sorting the pixels.
_LARGEST_TABLE = 10_000_000
_EIGHT_CONNECTED = np.ones((3, 3), bool)


def check_labels(
    labels: np.ndarray,
    where: object,
    shape: tuple[int, int] | None = None,
    allow_gaps: bool = False,
) -> None:
    """Refuses an array that is not an instance label image; an empty one is legal.

    Args:
        labels: (Y, X) integers, 0 = background, cells 1..N.
        where: file or tile, for the message.
        shape: (Y, X) of the image that the labels belong to; None = unknown.
        allow_gaps: ids may be any positive numbers (they are about to be renumbered).

    Raises:
        LabelsError: for a wrong type, rank or shape, negative ids, binary masks, wrapped ids,
            and ids with gaps.
    """
    check_labels_type(labels.shape, labels.dtype, where, shape)
    if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
        raise LabelsError(
            f"labels must be 0 or positive, {where} goes down to {labels.min()}; "
            "save background as 0 and cells as 1..N"
        )
    ids, compact = compact_labels(labels)
    _check_parts(ids, compact, labels.dtype, where)
    if not allow_gaps and len(ids) and int(ids[-1]) != len(ids):
        raise LabelsError(
            f"label ids must be 1..N without gaps, {where} has {len(ids)} cells and the largest id "
            f"{ids[-1]}; if no cell was lost, set renumber_labels: true in the study"
        )


def check_labels_type(
    found: tuple[int, ...], dtype: np.dtype, where: object, shape: tuple[int, int] | None = None
) -> None:
    """Refuses what rank, shape and type alone show not to be a label image.

    Args:
        found: shape of the label array.
        dtype: its type.
        where: file or tile, for the message.
        shape: (Y, X) that it must have; None = unknown.

    Raises:
        LabelsError: for other than two axes, another shape, or other than integers.
    """
    if len(found) != 2:
        raise LabelsError(
            f"labels must be (Y, X) integers, {where} is {found} {dtype} (colour, outlines or a "
            "stack); save the label image itself, one integer a pixel"
        )
    if dtype.kind == "b":
        raise LabelsError(
            f"labels must be integers, {where} is a yes/no mask; label its connected components "
            "first, each cell its own id"
        )
    if dtype.kind not in "ui":
        raise LabelsError(
            f"labels must be integers, {where} is {dtype}; save it as an integer type "
            "(uint16 or uint32)"
        )
    if shape is not None and found != tuple(shape):
        raise LabelsError(
            f"labels must have the shape of their image {tuple(shape)}, {where} has {found}; "
            "labels are never cropped: pass the file that belongs to this image"
        )


def compact_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids in use, ascending, and the same labels renumbered 1..N in that order.

    Args:
        labels: (Y, X) integers, none negative.

    Returns:
        ids: (N,) without 0; and (Y, X) int32 with 0 = background.
    """
    top = int(labels.max(initial=0))
    if top > _LARGEST_TABLE:
        values, compact = np.unique(labels, return_inverse=True)
        has_background = values[0] == 0
        shift = 0 if has_background else 1
        return values[1 - shift :], (compact.reshape(labels.shape) + shift).astype(np.int32)
    flat = labels.astype(np.int64, copy=False).ravel()
    ids = np.flatnonzero(np.bincount(flat, minlength=1)[1:]) + 1
    renumbered = np.zeros(top + 1, np.int32)
    renumbered[ids] = np.arange(1, len(ids) + 1)
    return ids, renumbered[labels]


@dataclass(frozen=True)
class _Parts:
    """How one label lies in its image."""

    count: int
    far_apart: bool


def _check_parts(ids: np.ndarray, compact: np.ndarray, dtype: np.dtype, where: object) -> None:
    parts = _find_parts(compact)
    n_far = sum(part.far_apart for part in parts)
    if len(ids) == 1 and (parts[0].count > 2 or n_far):
        count = ndimage.label(compact)[1]  # 4-connected, as whoever labels them will count
        raise LabelsError(
            f"labels must give each cell its own id, {where} has the single value {ids[0]} in "
            f"{count} separate parts (a binary mask); label connected components first"
        )
    if dtype == np.uint8 and n_far and ids[-1] == 255:
        raise LabelsError(
            f"label ids must be unique, {where} is uint8 and {n_far} of its {len(ids)} ids occur "
            "in far-apart parts (ids wrapped past 255); save the labels as uint16 at their source"
        )
    if n_far > _MOST_FAR_FRACTION * len(ids):
        raise LabelsError(
            f"labels must give each cell its own id, in {where} {n_far} of {len(ids)} ids occur in "
            "far-apart parts (a class map, or cells sharing an id); save one id a cell"
        )


def _find_parts(compact: np.ndarray) -> list[_Parts]:
    found = []
    for index, place in enumerate(ndimage.find_objects(compact), start=1):
        numbered, count = ndimage.label(compact[place] == index, structure=_EIGHT_CONNECTED)
        found.append(_Parts(count, count > 1 and _lie_far_apart(numbered)))
    return found


def _lie_far_apart(numbered: np.ndarray) -> bool:
    """Whether some part lies far from the largest one, by their bounding boxes."""
    boxes = np.array(
        [[(axis.start, axis.stop) for axis in box] for box in ndimage.find_objects(numbered)]
    )  # (part, axis, start and stop)
    largest = boxes[np.argmax(np.bincount(numbered.ravel())[1:])]
    gaps = np.maximum(boxes[:, :, 0] - largest[:, 1], largest[:, 0] - boxes[:, :, 1]).max(axis=1)
    side = (largest[:, 1] - largest[:, 0]).max()
    return bool((gaps >= max(_FAR_GAP_PX, _FAR_GAP_SIDES * side)).any())
