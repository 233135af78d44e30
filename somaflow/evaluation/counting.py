"""Matches of predicted to reference cells in one image: TP, FP and FN at an IoU threshold.

Enters: two (Y, X) label images. Leaves: `MatchCounts`, or the table of overlapping pairs.
Refuses: labels that cannot be compared and thresholds outside (0, 1].

A pair matches when its IoU is at least the threshold, each cell takes part in one match at most,
and the number of matches is the largest possible. Above 0.5 a cell cannot have two partners; at
0.5 and below it can, and then the largest matching decides. Cellpose's ``average_precision``
(cellpose 4.2.1.1, metrics.py) gives the same counts through a dense linear assignment.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from somaflow.evaluation.matching import check_iou_threshold, match_cells
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

    @classmethod
    def of(cls, tp: int, n_reference: int, n_predicted: int) -> "MatchCounts":
        """The counts that follow from the matched pairs and the cells on either side."""
        return cls(tp, n_predicted - tp, n_reference - tp, n_reference, n_predicted)


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
    check_iou_threshold(iou_threshold)
    overlaps = find_overlaps(reference, predicted)
    pairs = overlaps.iou >= iou_threshold
    n_reference, n_predicted = overlaps.reference_ids.size, overlaps.predicted_ids.size
    matched = match_cells(overlaps.predicted[pairs], overlaps.reference[pairs], n_predicted)
    return MatchCounts.of(int(matched.sum()), n_reference, n_predicted)


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
