"""Counts at every setting of a grid of Cellpose thresholds, from one pass of the net.

Enters: the net's prediction of a tile and its reference labels. Leaves: TP, FP and FN at each
setting, equal to those of a separate ``CellposeModel.eval`` for each. Refuses: a reference that
does not fit the tile, an IoU threshold outside (0, 1].

Only a new cellprob_threshold makes new objects. flow_threshold and min_size_px drop objects, and
dropping one changes no IoU of another, so one table of overlaps serves all of their settings.
"""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from somaflow.evaluation.counting import MatchCounts, count_matches
from somaflow.evaluation.matching import check_iou_threshold, match_cells
from somaflow.evaluation.overlaps import Overlaps, find_overlaps
from somaflow.segmenter import Candidates, Prediction, Segmenter
from somaflow.settings import ThresholdGrid


def sweep_thresholds(
    segmenter: Segmenter,
    prediction: Prediction,
    reference: NDArray[np.integer],
    grid: ThresholdGrid,
    iou_threshold: float = 0.5,
) -> pd.DataFrame:
    """Counts of one tile at every setting of the grid.

    Args:
        segmenter: whose prediction it is.
        prediction: of `Segmenter.predict` for the tile.
        reference: (Y, X) integers, 0 = background.
        grid: thresholds to try; its recipes are not looked at.
        iou_threshold: overlap from which a predicted cell counts as found, in (0, 1].

    Returns:
        A row a setting, in the order of the grid: cellprob_threshold, flow_threshold, min_size_px,
        tp, fp, fn, n_reference, n_predicted.

    Raises:
        ScoringError: if the reference does not fit, or the IoU threshold is not in (0, 1].
    """
    check_iou_threshold(iou_threshold)
    rows = []
    for cellprob_threshold in grid.cellprob_threshold:
        candidates = segmenter.find_candidates(prediction, cellprob_threshold)
        for flow_threshold, min_size_px, counts in _count(
            candidates, reference, grid, iou_threshold
        ):
            setting = {
                "cellprob_threshold": cellprob_threshold,
                "flow_threshold": flow_threshold,
                "min_size_px": min_size_px,
            }
            rows.append(setting | asdict(counts))
    return pd.DataFrame(rows)


def _count(
    candidates: Candidates,
    reference: NDArray[np.integer],
    grid: ThresholdGrid,
    iou_threshold: float,
) -> Iterator[tuple[float, int, MatchCounts]]:
    """flow_threshold, min_size_px and counts of each choice among the candidates."""
    overlaps = None if candidates.has_nested else find_overlaps(reference, candidates.filled)
    known: dict[bytes, MatchCounts] = {}
    for flow_threshold in grid.flow_threshold:
        passed = candidates.pass_flow(flow_threshold)
        for min_size_px in grid.min_size_px:
            kept = passed & (candidates.area_px >= min_size_px)
            if overlaps is not None:
                yield flow_threshold, min_size_px, _count_kept(overlaps, kept, iou_threshold)
                continue
            # Which pixels a kept object has depends on what is kept around it and, where a hole
            # takes a part of it, on min_size_px again.
            key = passed.tobytes() + min_size_px.to_bytes(8)
            if key not in known:
                labels = candidates.select(flow_threshold, min_size_px)
                known[key] = count_matches(reference, labels, iou_threshold)
            yield flow_threshold, min_size_px, known[key]


def _count_kept(overlaps: Overlaps, kept: NDArray[np.bool_], iou_threshold: float) -> MatchCounts:
    """Counts when only some of the predicted cells, (P,) bool, are kept."""
    pairs = (overlaps.iou >= iou_threshold) & kept[overlaps.predicted]
    matched = match_cells(overlaps.predicted[pairs], overlaps.reference[pairs], kept.size)
    return MatchCounts.of(int(matched.sum()), overlaps.reference_ids.size, int(kept.sum()))
