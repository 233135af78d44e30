"""Removes predicted cells by size and marker intensity.

Enters: the labels of a tile, its marker channel and a `Gate`. Leaves: labels in which removed cells
are background and kept cells keep their ids. Refuses: a marker image that does not fit the labels,
or a marker limit on pixels that are not finite.

Marker limits are quantiles of all pixels of the tile, not of its cells, so removing a cell moves
no limit: gating twice changes nothing, and a sweep over gates needs areas and means only once.
"""

from typing import NamedTuple

import numba
import numpy as np

from somaflow.errors import TileError
from somaflow.features.intensities import channel_means, check_plane
from somaflow.features.runs import find_runs
from somaflow.features.shapes import areas
from somaflow.recipes import Gate


class MarkerLimits(NamedTuple):
    """Smallest and largest mean marker intensity to keep, in intensity units of the tile."""

    low: float
    high: float


def gate_labels(labels: np.ndarray, marker_image: np.ndarray, gate: Gate | None) -> np.ndarray:
    """Returns a copy of the labels without the cells that the gate removes.

    Args:
        labels: (Y, X) integers, 0 = background; ids may have gaps and be of any size.
        marker_image: (Y, X) of any real dtype, the marker channel of the same tile.
        gate: what to remove; None or a gate without limits removes nothing. Limits are inclusive:
            a cell exactly at a limit is kept.

    Returns:
        (Y, X) of the dtype of `labels`; kept cells keep their ids.

    Raises:
        LabelsError: if `labels` is not a (Y, X) label image.
        TileError: if the marker image does not fit the labels, or a marker limit is asked for and
            a pixel is NaN.
    """
    runs = find_runs(labels)
    marker = _check_marker(marker_image, np.shape(labels))
    gated = np.array(labels)
    if gate is None or runs.ids.size == 0:
        return gated
    area_px = areas(runs)
    if has_marker_limit(gate):
        marker_mean, limits = channel_means(runs, area_px, marker)[0], marker_limits(marker, gate)
    else:
        marker_mean, limits = np.zeros(area_px.size), MarkerLimits(-np.inf, np.inf)
    removed = ~keep_cells(area_px, marker_mean, gate, limits)
    removed_px = np.zeros(gated.shape, dtype=np.bool_)
    _mark_runs(removed[runs.cell], runs.row, runs.start, runs.stop, removed_px)
    gated[removed_px] = 0
    return gated


def keep_cells(
    area_px: np.ndarray, marker_mean: np.ndarray, gate: Gate, limits: MarkerLimits
) -> np.ndarray:
    """Returns which cells the gate keeps, (N,) bool: the rule behind `gate_labels`, for sweeps.

    Args:
        area_px: (N,) pixels of each cell.
        marker_mean: (N,) mean marker intensity of each cell.
        gate: the size limits.
        limits: of `marker_limits` for the same tile and gate.
    """
    keep = (marker_mean >= limits.low) & (marker_mean <= limits.high)
    if gate.min_area_px is not None:
        keep &= area_px >= gate.min_area_px
    if gate.max_area_px is not None:
        keep &= area_px <= gate.max_area_px
    return keep


def marker_limits(marker_image: np.ndarray, gate: Gate) -> MarkerLimits:
    """Returns the gate's marker quantiles as intensities of this tile; infinite where switched off.

    Args:
        marker_image: (Y, X) of any real dtype, all pixels of the tile.
        gate: the quantiles.

    Raises:
        TileError: if a pixel is NaN, which would silently keep or remove everything.
    """
    quantiles = (gate.min_marker_quantile, gate.max_marker_quantile)
    asked = [quantile for quantile in quantiles if quantile is not None]
    found = dict(zip(asked, _quantiles(np.asarray(marker_image), asked), strict=True))
    if np.isnan(list(found.values())).any():
        raise TileError(
            "marker image must be finite for a marker quantile, found NaN; "
            "mend the tile or gate by area only"
        )
    low, high = quantiles
    return MarkerLimits(
        -np.inf if low is None else found[low], np.inf if high is None else found[high]
    )


def has_marker_limit(gate: Gate) -> bool:
    """Whether the gate looks at the marker image at all."""
    return gate.min_marker_quantile is not None or gate.max_marker_quantile is not None


def _check_marker(marker_image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    marker = check_plane(marker_image, "marker image")
    if marker.shape != shape:
        raise TileError(
            f"marker image must have the shape of its labels, got {marker.shape} and {shape}; "
            "pass the marker channel of the same tile"
        )
    return marker


def _quantiles(image: np.ndarray, quantiles: list[float]) -> list[float]:
    """Returns what ``np.quantile`` does; from a histogram, 10 times as fast, for 8 and 16 bit."""
    if not quantiles or image.dtype not in (np.uint8, np.uint16) or image.size == 0:
        return np.quantile(image, quantiles).tolist() if quantiles else []
    n_below = np.cumsum(np.bincount(image.ravel()))
    positions = np.asarray(quantiles) * (image.size - 1)
    floors = np.floor(positions)
    # The intensity at sorted position p is the first with more than p pixels at or below it.
    lower = np.searchsorted(n_below, floors, side="right")
    upper = np.searchsorted(n_below, np.ceil(positions), side="right")
    between = zip(lower, upper, positions - floors, strict=True)
    return [float(np.quantile([a, b], fraction)) for a, b, fraction in between]


@numba.njit(cache=True)
def _mark_runs(
    marked: np.ndarray, row: np.ndarray, start: np.ndarray, stop: np.ndarray, pixels: np.ndarray
) -> None:
    for run in range(marked.size):
        if marked[run]:
            pixels[row[run], start[run] : stop[run]] = True
