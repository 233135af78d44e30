"""What a sweep over gates needs to know of a tile, measured once.

Enters: reference and predicted labels of a tile and its image. Leaves: a `GateTable`: the tile's
predicted cells with their sizes, intensities and partners, and the tile's own row. Dropping a
predicted cell changes no other cell's IoU, so every gate can be scored from it without a pixel.
Refuses: labels and images that do not fit each other, thresholds outside (0, 1].

Both tables survive parquet; tables of many tiles are put together with ``pandas.concat``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from somaflow.errors import TileError
from somaflow.evaluation.matching import check_iou_threshold
from somaflow.evaluation.overlaps import Overlaps, find_overlaps
from somaflow.features.intensities import channel_means, check_plane
from somaflow.features.runs import find_runs
from somaflow.features.shapes import areas
from somaflow.gating.gate import marker_limits
from somaflow.recipes import Gate

TILE_COLUMNS = ("tile_id", "donor", "marker", "split", "split_level")
"""Columns of a prepared tile that both tables begin with."""


@dataclass(frozen=True)
class GateTable:
    """One tile, or many, as a sweep over gates sees them.

    Attributes:
        cells: a row a predicted cell: `TILE_COLUMNS`, label (int64), area_px (int64), marker_mean
            (float64, intensity units), reference_labels (list of int64: reference cells that it
            overlaps with at least the IoU threshold) and ious (list of float64: with which IoU).
        tiles: a row a tile: `TILE_COLUMNS`, n_reference, n_predicted, iou_threshold, and
            `quantile_column(q)`, an intensity, for each quantile.
    """

    cells: pd.DataFrame
    tiles: pd.DataFrame


def measure_gate_pairs(
    reference: np.ndarray,
    labels: np.ndarray,
    image: np.ndarray,
    gate_quantiles: Iterable[float],
    iou_threshold: float,
    tile: Mapping[str, object],
) -> GateTable:
    """Returns what every gate over `gate_quantiles` can be scored from, for one tile.

    Args:
        reference: (Y, X) integers, 0 = background.
        labels: (Y, X) integers, 0 = background: predicted, not gated.
        image: (2, Y, X), DAPI and marker.
        gate_quantiles: marker quantiles that gates will ask for, from `gate_quantiles`.
        iou_threshold: smallest IoU of a match, in (0, 1].
        tile: `TILE_COLUMNS` of the tile, such as a row of `prepared.parquet`; others are left out.

    Raises:
        ScoringError: if the labels cannot be compared or the threshold is not in (0, 1].
        LabelsError: if `labels` is not a label image.
        TileError: if the image does not fit the labels, or holds NaN and a quantile is asked for.
    """
    check_iou_threshold(iou_threshold)
    if image.ndim != 3 or image.shape != (2, *labels.shape):
        raise TileError(
            f"image must be (2, Y, X) of the labels' size {labels.shape}, got {image.shape} for "
            f"tile {tile['tile_id']}; pass DAPI and marker of the same tile"
        )
    overlaps = find_overlaps(reference, labels)
    runs = find_runs(labels)
    marker = check_plane(image[1], "marker image")
    area_px = areas(runs)
    reference_labels, ious = _partners(overlaps, iou_threshold)
    names = {name: str(tile[name]) for name in TILE_COLUMNS}
    cells = {
        "label": runs.ids,
        "area_px": area_px,
        "marker_mean": channel_means(runs, area_px, marker)[0],
        "reference_labels": pd.Series(reference_labels, dtype=object),
        "ious": pd.Series(ious, dtype=object),
    }
    sizes = {
        "n_reference": overlaps.reference_ids.size,
        "n_predicted": runs.ids.size,
        "iou_threshold": float(iou_threshold),
    }
    quantiles = {
        quantile_column(quantile): marker_limits(marker, Gate(min_marker_quantile=quantile)).low
        for quantile in sorted(set(gate_quantiles))
    }
    return GateTable(pd.DataFrame(names | cells), pd.DataFrame([names | sizes | quantiles]))


def quantile_column(quantile: float) -> str:
    """Returns the column of `GateTable.tiles` that holds a marker quantile's intensity."""
    return f"marker_q_{float(quantile)!r}"


def _partners(
    overlaps: Overlaps, iou_threshold: float
) -> tuple[list[list[int]], list[list[float]]]:
    """Returns, for each predicted cell, the reference cells it may be matched to, and the IoUs."""
    reference_labels: list[list[int]] = [[] for _ in overlaps.predicted_ids]
    ious: list[list[float]] = [[] for _ in overlaps.predicted_ids]
    for pair in np.flatnonzero(overlaps.iou >= iou_threshold):
        cell = overlaps.predicted[pair]
        reference_labels[cell].append(int(overlaps.reference_ids[overlaps.reference[pair]]))
        ious[cell].append(float(overlaps.iou[pair]))
    return reference_labels, ious
