"""Why cells are missed: what became of each reference cell and of each object the net saw.

Enters: the net's prediction of a tile, its reference labels and a recipe. Leaves: two tables, a row
a reference cell and a row a candidate, with size, cell probability, overlap and fate.
Refuses: a reference that does not fit the tile, an IoU threshold outside (0, 1].
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from somaflow.evaluation.matching import check_iou_threshold, match_cells
from somaflow.evaluation.overlaps import find_overlaps
from somaflow.recipes import Recipe
from somaflow.segmenter import Candidates, Prediction, Segmenter


def describe_cells(
    segmenter: Segmenter,
    prediction: Prediction,
    reference: NDArray[np.integer],
    recipe: Recipe,
    iou_threshold: float = 0.5,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each reference cell, and each object that the recipe's thresholds chose from, in one tile.

    Args:
        segmenter: whose prediction it is.
        prediction: of `Segmenter.predict` for the tile, with the recipe's channels.
        reference: (Y, X) integers, 0 = background.
        recipe: its three thresholds; its gate is not applied.
        iou_threshold: overlap from which a cell counts as found, in (0, 1].

    Returns:
        Of reference cells: label, area_px, cellprob_median (a logit, over the cell's pixels),
        best_iou (with one of the recipe's labels, 0 if none touches it), found (it is one of the
        true positives).
        Of candidates, before any is removed: label, area_px, flow_error, cellprob_median,
        best_iou (with a reference cell), matches (best_iou reaches the threshold), kept, and
        removed_by: "" if kept, else "flow", "size", or "hole" for one that passes both and is lost
        in a filled hole of another.

    Raises:
        ScoringError: if the reference does not fit, or the IoU threshold is not in (0, 1].
    """
    check_iou_threshold(iou_threshold)
    candidates = segmenter.find_candidates(prediction, recipe.cellprob_threshold)
    predicted = candidates.select(recipe.flow_threshold, recipe.min_size_px)
    return (
        _describe_reference(reference, predicted, prediction.cellprob, iou_threshold),
        _describe_candidates(candidates, reference, prediction.cellprob, recipe, iou_threshold),
    )


def _describe_reference(
    reference: NDArray[np.integer],
    predicted: NDArray[np.uint32],
    cellprob: NDArray[np.float32],
    iou_threshold: float,
) -> pd.DataFrame:
    overlaps = find_overlaps(reference, predicted)
    labels = overlaps.reference_ids
    pairs = overlaps.iou >= iou_threshold
    return pd.DataFrame(
        {
            "label": labels,
            "area_px": _areas(reference, labels),
            "cellprob_median": _medians(cellprob, reference, labels),
            "best_iou": _best(overlaps.iou, overlaps.reference, labels.size),
            "found": match_cells(overlaps.reference[pairs], overlaps.predicted[pairs], labels.size),
        }
    )


def _describe_candidates(
    candidates: Candidates,
    reference: NDArray[np.integer],
    cellprob: NDArray[np.float32],
    recipe: Recipe,
    iou_threshold: float,
) -> pd.DataFrame:
    overlaps = find_overlaps(reference, candidates.labels)
    labels = overlaps.predicted_ids
    best_iou = _best(overlaps.iou, overlaps.predicted, labels.size)
    kept = candidates.survive(recipe.flow_threshold, recipe.min_size_px)
    reasons = {
        "": kept,
        "flow": ~candidates.pass_flow(recipe.flow_threshold),
        "size": candidates.area_px < recipe.min_size_px,
    }
    return pd.DataFrame(
        {
            "label": labels,
            "area_px": candidates.area_px,
            "flow_error": candidates.flow_errors,
            "cellprob_median": _medians(cellprob, candidates.labels, labels),
            "best_iou": best_iou,
            "matches": best_iou >= iou_threshold,
            "kept": kept,
            "removed_by": np.select(list(reasons.values()), list(reasons), default="hole"),
        }
    )


def _areas(labels: NDArray[np.integer], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    return ndimage.sum_labels(np.ones(labels.shape), labels, ids).astype(np.int64)


def _medians(
    image: NDArray[np.float32], labels: NDArray[np.integer], ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.asarray(ndimage.median(image, labels, ids), dtype=np.float64)


def _best(iou: NDArray[np.float64], cell: NDArray[np.int64], n_cells: int) -> NDArray[np.float64]:
    """The largest IoU of each cell, (n_cells,), 0 for one that overlaps none."""
    best = np.zeros(n_cells)
    np.maximum.at(best, cell, iou)
    return best
