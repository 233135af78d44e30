"""How cells lie to each other: nearest neighbours, clustering or regular spacing, a value a tile.

Enters: centroids of the cells of many tiles and the size of each tile. Leaves: a value a tile.
Refuses: nothing; what cannot be told from so few cells is NaN.

Cells of all tiles are searched at once: each tile is laid so far from the others that no neighbour
is found in another one.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

MIN_CELLS = 5
"""Of a tile with fewer, no pattern is told."""
RADIUS_PX = 50.0
"""Distance at which clustering is looked at: three to four cell diameters."""

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]


class Points(NamedTuple):
    """Cells of T tiles."""

    y: Floats
    """(N,) px."""
    x: Floats
    """(N,) px."""
    tile: Integers
    """(N,) in [0, T), the tile of each cell."""
    height: Floats
    """(T,) px."""
    width: Floats
    """(T,) px."""

    @property
    def n_cells(self) -> Integers:
        """(T,) cells of each tile."""
        return np.bincount(self.tile, minlength=len(self.height))


def nearest_distances(points: Points) -> Floats:
    """Returns the distance from each cell to the nearest other one of its tile, (N,) px.

    NaN for a cell that is alone on its tile.
    """
    if len(points.y) < 2:
        return np.full(len(points.y), np.nan)
    _, found = _lay_apart(points, 0).query(_places(points, 0), k=2)
    itself = np.arange(len(found))
    # Of cells in one and the same place, either may come first.
    nearest = np.where(found[:, 0] == itself, found[:, 1], found[:, 0])
    distance = np.hypot(points.y - points.y[nearest], points.x - points.x[nearest])
    return np.where(points.tile == points.tile[nearest], distance, np.nan)


def median_nearest(points: Points, distances: Floats) -> Floats:
    """Returns the median distance to the nearest cell, (T,) px; NaN below `MIN_CELLS` cells."""
    medians = pd.Series(distances).groupby(points.tile).median()
    return np.where(_has_pattern(points), medians.reindex(range(len(points.height))), np.nan)


def clark_evans(points: Points, distances: Floats) -> Floats:
    """Returns the mean distance to the nearest cell over that of as many cells strewn at random.

    About 1 for cells strewn at random, below for clusters, above for regular spacing (Clark and
    Evans 1954, doi:10.2307/1931034). What is expected includes Donnelly's (1978) correction for
    cells at the border, whose nearest neighbour may lie outside.

    Args:
        points: cells of T tiles.
        distances: (N,) px, of `nearest_distances`.

    Returns:
        (T,) without unit, NaN below `MIN_CELLS` cells.
    """
    n_cells = np.where(_has_pattern(points), points.n_cells, np.nan)
    known = np.isfinite(distances)
    total = np.bincount(points.tile[known], distances[known], minlength=len(n_cells))
    area, border = points.height * points.width, 2 * (points.height + points.width)
    expected = 0.5 * np.sqrt(area / n_cells)
    expected += (0.0514 + 0.041 / np.sqrt(n_cells)) * border / n_cells
    return total / n_cells / expected


def ripley_l(points: Points, radius_px: float = RADIUS_PX) -> Floats:
    """Returns Ripley's L(r) - r at one distance (1977, doi:10.1111/j.2517-6161.1977.tb01615.x).

    About 0 for cells strewn at random, above for clusters, below for regular spacing. Pairs are
    weighted by translation: one d apart counts as the inverse of the area of the tile that overlaps
    the tile moved by d (Ohser and Stoyan 1981, doi:10.1002/bimj.4710230602).

    Args:
        points: cells of T tiles.
        radius_px: r.

    Returns:
        (T,) px, NaN below `MIN_CELLS` cells or where r is over half the tile's shorter side.
    """
    n_cells = points.n_cells
    fits = radius_px <= np.minimum(points.height, points.width) / 2
    tile, weights = _weigh_pairs(points, radius_px, fits)
    sums = np.bincount(tile, weights, minlength=len(n_cells))
    pairs = np.where(_has_pattern(points) & fits, n_cells * (n_cells - 1.0), np.nan)
    # Each pair counts both ways.
    k = (points.height * points.width) ** 2 / pairs * 2 * sums
    return np.sqrt(k / np.pi) - radius_px


def _weigh_pairs(
    points: Points, radius_px: float, fits: NDArray[np.bool_]
) -> tuple[Integers, Floats]:
    """Returns the tile and the weight, in 1 / px2, of each pair of cells up to r apart."""
    # Far from the origin places round to 1e-8 px: a few too many are found, then the exact ones
    # are kept.
    tree = _lay_apart(points, radius_px)
    first, second = tree.query_pairs(radius_px * (1 + 1e-6), output_type="ndarray").T
    dy = np.abs(points.y[first] - points.y[second])
    dx = np.abs(points.x[first] - points.x[second])
    tile = points.tile[first]
    kept = (np.hypot(dy, dx) <= radius_px) & fits[tile]
    tile, dy, dx = tile[kept], dy[kept], dx[kept]
    return tile, 1 / ((points.height[tile] - dy) * (points.width[tile] - dx))


def _has_pattern(points: Points) -> NDArray[np.bool_]:
    return points.n_cells >= MIN_CELLS


def _lay_apart(points: Points, reach_px: float) -> cKDTree:
    return cKDTree(_places(points, reach_px))


def _places(points: Points, reach_px: float) -> Floats:
    # Nearer than this, cells of one tile only. Not from the tiles' sizes: some may be unknown.
    apart = 4 * max(points.y.max(initial=1), points.x.max(initial=1)) + reach_px
    return np.column_stack([points.y, points.x + points.tile * apart])
