"""Which reference cell overlaps which predicted cell, and by how many pixels.

Enters: two label images of one shape. Leaves: `Overlaps`, the pairs that share a pixel and the
areas of all cells, from which IoU, matches and sweeps follow without touching a pixel again.
Refuses: other shapes, other dtypes, negative ids.
"""

from dataclasses import dataclass

import numba
import numpy as np

from somaflow.errors import ScoringError
from somaflow.features.runs import compact_ids, find_paired_runs

# A dense (reference, predicted) table is the fastest histogram, but 20,000 cells a side would
# take 3 GB; above this many entries (50 MB of int64) the pairs are sorted instead.
_DENSE_ENTRIES = 6_250_000


@dataclass(frozen=True)
class Overlaps:
    """Overlapping pairs of two label images, sorted by reference, then predicted label.

    Attributes:
        reference_ids: (R,) int64, reference labels present, ascending, without 0.
        predicted_ids: (P,) int64, predicted labels present, ascending, without 0.
        reference: (K,) int64, index into `reference_ids` of each overlapping pair.
        predicted: (K,) int64, index into `predicted_ids` of each overlapping pair.
        overlap_px: (K,) int64, shared pixels of each pair, all > 0.
        iou: (K,) float64, intersection over union of each pair, in (0, 1].
    """

    reference_ids: np.ndarray
    predicted_ids: np.ndarray
    reference: np.ndarray
    predicted: np.ndarray
    overlap_px: np.ndarray
    iou: np.ndarray


def find_overlaps(reference: np.ndarray, predicted: np.ndarray) -> Overlaps:
    """Returns all overlapping pairs of two label images.

    Args:
        reference: (Y, X) integers, 0 = background; ids may have gaps and be of any size.
        predicted: (Y, X) integers, as `reference`.

    Raises:
        ScoringError: if the shapes differ, or an image is not 2-D, not of integers, or holds
            negative ids.
    """
    reference, predicted = _check_pair(reference, predicted)
    reference_runs, predicted_runs, length = _pair_runs(reference, predicted)
    reference_ids, reference_index = compact_ids(reference_runs)
    predicted_ids, predicted_index = compact_ids(predicted_runs)
    sides = (reference_ids.size, predicted_ids.size)
    count_pairs = _dense_pairs if sides[0] * sides[1] <= _DENSE_ENTRIES else _sorted_pairs
    pair_reference, pair_predicted, overlap = count_pairs(
        reference_index, predicted_index, length, sides
    )
    reference_area = _areas(reference_index, length, sides[0])
    predicted_area = _areas(predicted_index, length, sides[1])
    union = reference_area[pair_reference] + predicted_area[pair_predicted] - overlap
    cells = (reference_ids[pair_reference] > 0) & (predicted_ids[pair_predicted] > 0)
    # Background, where present, is the smallest id and so index 0.
    return Overlaps(
        reference_ids=reference_ids[reference_ids > 0],
        predicted_ids=predicted_ids[predicted_ids > 0],
        reference=pair_reference[cells] - int(0 in reference_ids[:1]),
        predicted=pair_predicted[cells] - int(0 in predicted_ids[:1]),
        overlap_px=overlap[cells],
        iou=overlap[cells] / union[cells],
    )


def _check_pair(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    arrays = {"reference": np.asarray(reference), "predicted": np.asarray(predicted)}
    for name, array in arrays.items():
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
            raise ScoringError(
                f"{name} must be (Y, X) integer labels, got {array.shape} {array.dtype}; "
                "pass the instance label image, not the image or a probability map"
            )
    if arrays["reference"].shape != arrays["predicted"].shape:
        raise ScoringError(
            "reference and predicted must have one shape, got "
            f"{arrays['reference'].shape} and {arrays['predicted'].shape}; "
            "score labels of the same tile, neither cropped nor resized"
        )
    return arrays["reference"], arrays["predicted"]


def _pair_runs(
    reference: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns label, label and length of each run of one (reference, predicted) pair.

    A tile of a million pixels and 500 cells a side is about 30,000 runs; runs that are background
    in both are left out.

    Args:
        reference: (Y, X) integers.
        predicted: (Y, X) integers.
    """
    runs = find_paired_runs(reference, predicted)
    for name, values in (("reference", runs.one), ("predicted", runs.other)):
        lowest = values.min(initial=0)
        if lowest < 0:
            raise ScoringError(
                f"{name} labels must be ids >= 0 that fit in int64, got {lowest}; 0 is background"
            )
    return runs.one, runs.other, runs.length


def _areas(index: np.ndarray, length: np.ndarray, n_ids: int) -> np.ndarray:
    # bincount adds in float64, which is exact below 2**53 pixels.
    return np.bincount(index, weights=length, minlength=n_ids).astype(np.int64)


def _dense_pairs(
    reference: np.ndarray, predicted: np.ndarray, length: np.ndarray, sides: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.zeros(sides, dtype=np.int64)
    keys = np.empty(length.size, dtype=np.int64)
    n_pairs = _add_runs(reference, predicted, length, table, keys)
    keys = np.sort(keys[:n_pairs])
    return keys // sides[1], keys % sides[1], table.ravel()[keys]


def _sorted_pairs(
    reference: np.ndarray, predicted: np.ndarray, length: np.ndarray, sides: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys, index = np.unique(reference * sides[1] + predicted, return_inverse=True)
    return keys // sides[1], keys % sides[1], _areas(index, length, keys.size)


@numba.njit(cache=True)
def _add_runs(
    reference: np.ndarray,
    predicted: np.ndarray,
    length: np.ndarray,
    table: np.ndarray,
    keys: np.ndarray,
) -> int:
    """Adds run lengths into the dense table; returns how many pairs were new, their keys in `keys`.

    Noting a pair when it is first seen saves the search through a table that is mostly zero.
    """
    n_pairs = 0
    for run in range(length.size):
        a, b = reference[run], predicted[run]
        if table[a, b] == 0:
            keys[n_pairs] = a * table.shape[1] + b
            n_pairs += 1
        table[a, b] += length[run]
    return n_pairs
