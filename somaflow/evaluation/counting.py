"""Matches of predicted to reference cells in one image: TP, FP and FN at an IoU threshold.

Enters: two (Y, X) label images. Leaves: `MatchCounts`, or the table of overlapping pairs.
Refuses: labels that cannot be compared and thresholds outside (0, 1].

A pair matches when its IoU is at least the threshold, each cell takes part in one match at most,
and the number of matches is the largest possible. Above 0.5 a cell cannot have two partners; at
0.5 and below it can, and then the largest matching decides. Cellpose's ``average_precision``
(cellpose 4.2.1.1, metrics.py) gives the same counts through a dense linear assignment.
"""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from somaflow.errors import ScoringError
from somaflow.evaluation.overlaps import find_overlaps


@dataclass(frozen=True)
class MatchCounts:
    """Matched and unmatched cells of one image.

    Attributes:
        tp: matched pairs.
        fp: predicted cells without a match.
        fn: reference cells without a match.
        n_reference: reference cells, ``tp + fn``.
        n_predicted: predicted cells, ``tp + fp``.
    """

    tp: int
    fp: int
    fn: int
    n_reference: int
    n_predicted: int


def count_matches(
    reference: np.ndarray, predicted: np.ndarray, iou_threshold: float = 0.5
) -> MatchCounts:
    """Returns the matched and unmatched cells of one image.

    Args:
        reference: (Y, X) integers, 0 = background; ids may have gaps and be of any size.
        predicted: (Y, X) integers, as `reference`.
        iou_threshold: smallest IoU of a match, in (0, 1]; an IoU equal to it matches.

    Raises:
        ScoringError: if the labels cannot be compared or the threshold is not in (0, 1].
    """
    _check_threshold(iou_threshold)
    overlaps = find_overlaps(reference, predicted)
    edges = overlaps.iou >= iou_threshold
    n_reference, n_predicted = overlaps.reference_ids.size, overlaps.predicted_ids.size
    tp = _largest_matching(
        overlaps.reference[edges], overlaps.predicted[edges], (n_reference, n_predicted)
    )
    return MatchCounts(
        tp=tp,
        fp=n_predicted - tp,
        fn=n_reference - tp,
        n_reference=n_reference,
        n_predicted=n_predicted,
    )


def pair_table(reference: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Returns one row for each pair of cells that share a pixel.

    Dropping a predicted cell changes no other row, so sweeps over gates and thresholds can work
    on this table alone.

    Args:
        reference: (Y, X) integers, 0 = background; ids may have gaps and be of any size.
        predicted: (Y, X) integers, as `reference`.

    Returns:
        Columns reference_label, predicted_label, overlap_px (int64) and iou (float64, (0, 1]),
        sorted by reference, then predicted label.

    Raises:
        ScoringError: if the labels cannot be compared.
    """
    overlaps = find_overlaps(reference, predicted)
    return pd.DataFrame(
        {
            "reference_label": overlaps.reference_ids[overlaps.reference],
            "predicted_label": overlaps.predicted_ids[overlaps.predicted],
            "overlap_px": overlaps.overlap_px,
            "iou": overlaps.iou,
        }
    )


def _check_threshold(iou_threshold: float) -> None:
    is_number = isinstance(iou_threshold, Real) and not isinstance(iou_threshold, bool)
    if not is_number or not 0 < iou_threshold <= 1:
        raise ScoringError(
            f"iou_threshold must be a number in (0, 1], got {iou_threshold!r}; 0.5 is usual"
        )


def _largest_matching(reference: np.ndarray, predicted: np.ndarray, sides: tuple[int, int]) -> int:
    """Returns the size of the largest matching of a graph given by its edges."""
    if reference.size == 0:
        return 0
    if np.bincount(reference).max() == 1 and np.bincount(predicted).max() == 1:
        return int(reference.size)
    edges = np.ones(reference.size, dtype=np.int8)
    graph = csr_array((edges, (reference, predicted)), shape=sides)
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
