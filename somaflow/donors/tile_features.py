"""One row a tile: how many cells, of what size, shape and spacing, and how many are positive.

Enters: the cells of one recipe, their calls, and the tiles' quality table. Leaves: one row a tile
of the quality table, also for a tile without cells, with columns `<phenotype>|<feature>`; phenotype
"any" holds what needs none. Refuses: tables that do not fit each other.

Densities and area fractions are per tissue, not per tile: empty glass has no cells to count.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from somaflow.donors.neighbours import (
    RADIUS_PX,
    Points,
    clark_evans,
    median_nearest,
    nearest_distances,
    ripley_l,
)
from somaflow.errors import BadInputError
from somaflow.phenotypes.calls import find_tiles
from somaflow.phenotypes.thresholds import MIXTURE

ANY = "any"
"""The phenotype of what is measured of all cells."""
SEPARATOR = "|"
TILE_COLUMNS = ("tile_id", "donor", "marker", "region")
MIN_PATTERN_TISSUE = 0.9
"""Least share of tissue of a tile on which spacing is told: half a tile of cells is no cluster."""
_PX_PER_MPX = 1e6


class Feature(NamedTuple):
    """What a column of numbers is."""

    unit: str
    meaning: str


_ENDINGS = {"_per_mpx": "_per_mm2", "_area_px": "_area_um2", "_px": "_um"}
_IN_PIXELS = {
    "density_per_mpx": Feature("1/Mpx", "Cells per area of tissue."),
    "area_fraction": Feature("1", "Share of the tissue that cells cover."),
    "median_area_px": Feature("px", "Area of the median cell."),
    "median_radius_px": Feature("px", "Radius of the circle as large as the median cell."),
    "median_eccentricity": Feature(
        "1", "Eccentricity of the median cell: 0 = round, towards 1 = drawn out."
    ),
    "median_solidity": Feature(
        "1", "Share of its convex hull that the median cell fills: 1 = no branches or dents."
    ),
    "median_marker_above_background": Feature(
        "grey levels", "Mean marker of the median cell less the median of the tile's pixels."
    ),
    "median_nearest_neighbour_px": Feature(
        "px", "Distance of the median cell to its nearest neighbour's centre."
    ),
    "clark_evans_ratio": Feature(
        "1",
        "Mean distance to the nearest cell over that of cells strewn at random: below 1 = "
        "clustered, above = regular.",
    ),
    "ripley_l_minus_r_px": Feature(
        "px",
        f"Ripley's L(r) - r at r = {RADIUS_PX:g} px: above 0 = clustered, below = regular.",
    ),
    "positive_fraction": Feature("1", "Share of the cells that are positive."),
    "positive_density_per_mpx": Feature("1/Mpx", "Positive cells per area of tissue."),
    "positive_area_fraction": Feature("1", "Share of the tissue that positive cells cover."),
}
_OF_ANY = tuple(name for name in _IN_PIXELS if not name.startswith("positive_"))
_OF_POSITIVE = tuple(name for name in _IN_PIXELS if name.startswith("positive_"))


def in_micrometres(feature: str) -> str:
    """Returns the name that a feature has where the size of a pixel is known."""
    for ending, other in _ENDINGS.items():
        if feature.endswith(ending):
            return feature.removesuffix(ending) + other
    return feature


def _dictionary() -> dict[str, Feature]:
    units = {"_mm2": "1/mm2", "_um2": "um2", "_um": "um"}
    features = {}
    for name, feature in _IN_PIXELS.items():
        features[name] = feature
        other = in_micrometres(name)
        unit = next((unit for end, unit in units.items() if other.endswith(end)), feature.unit)
        features[other] = feature._replace(unit=unit)
    return features


FEATURES = _dictionary()
"""Every feature's name, in pixels and in micrometres, to its unit and meaning, in table order."""


def measure_tile_features(
    cells: pd.DataFrame,
    quality: pd.DataFrame,
    positive: pd.DataFrame,
    pixel_size_um: float | None = None,
    radius_px: float = RADIUS_PX,
) -> pd.DataFrame:
    """Returns one row a tile of `quality`, in its order.

    Args:
        cells: one row a cell of one recipe: tile_id, area_px, centroid_y_px, centroid_x_px,
            eccentricity, solidity, marker_mean.
        quality: one row a tile: `TILE_COLUMNS`, height_px, width_px, tissue_px, marker_median.
        positive: of `call_positive`, a row a cell in the order of `cells`, a column a phenotype.
        pixel_size_um: side of a pixel; None gives densities per Mpx and sizes in px.
        radius_px: r of Ripley's L.

    Returns:
        `TILE_COLUMNS`, n_cells, tissue_px, then `any|<feature>` and `<phenotype>|<feature>` for
        the features of `FEATURES`. Of a tile without cells, densities and area fractions are 0 and
        all else NaN; without tissue, they too are NaN. Positive features are NaN where a cell has
        no call.

    Raises:
        BadInputError: if a column is missing, the calls do not fit the cells, or a cell's tile has
            no row in `quality`.
    """
    _check(cells, quality, positive, pixel_size_um)
    tile = find_tiles(cells["tile_id"], quality)
    measured = _measure_all(cells, quality, tile, radius_px)
    columns = {f"{ANY}{SEPARATOR}{name}": values for name, values in measured.items()}
    for phenotype in positive:
        measured = _measure_positive(cells, quality, tile, positive[phenotype])
        columns |= {f"{phenotype}{SEPARATOR}{name}": values for name, values in measured.items()}
    if pixel_size_um is not None:
        columns = {
            in_micrometres(name): values / _divisor(name, pixel_size_um)
            for name, values in columns.items()
        }
    n_cells = np.bincount(tile, minlength=len(quality))
    fixed = {name: quality[name].to_numpy() for name in TILE_COLUMNS}
    fixed |= {"n_cells": n_cells, "tissue_px": quality["tissue_px"].to_numpy(dtype=np.float64)}
    return pd.DataFrame(fixed | columns, index=quality.index)


def _divisor(column: str, pixel_size_um: float) -> float:
    """What a value in pixels is divided by; a megapixel has the pixel's um2 in mm2."""
    if column.endswith("_per_mpx"):
        return pixel_size_um**2
    if column.endswith("_area_px"):
        return pixel_size_um**-2
    return 1 / pixel_size_um if column.endswith("_px") else 1.0


def _measure_all(
    cells: pd.DataFrame, quality: pd.DataFrame, tile: NDArray[np.integer], radius_px: float
) -> dict[str, np.ndarray]:
    tissue_px = _tissue(quality)
    area_px = cells["area_px"].to_numpy(dtype=np.float64)
    background = quality["marker_median"].to_numpy(dtype=np.float64)
    values = {
        "area_px": area_px,
        "radius_px": np.sqrt(area_px / np.pi),
        "eccentricity": cells["eccentricity"].to_numpy(),
        "solidity": cells["solidity"].to_numpy(),
        "marker_above_background": cells["marker_mean"].to_numpy() - background[tile],
    }
    medians = pd.DataFrame(values).groupby(tile).median().reindex(range(len(quality)))
    measured = {
        "density_per_mpx": _per_mpx(np.bincount(tile, minlength=len(quality)), tissue_px),
        "area_fraction": np.bincount(tile, area_px, minlength=len(quality)) / tissue_px,
    }
    measured |= {f"median_{name}": medians[name].to_numpy() for name in values}
    return measured | _measure_pattern(cells, quality, tile, radius_px)


def _measure_pattern(
    cells: pd.DataFrame, quality: pd.DataFrame, tile: NDArray[np.integer], radius_px: float
) -> dict[str, np.ndarray]:
    # A tile's cells side by side in memory are found several times quicker.
    order = np.argsort(tile, kind="stable")
    y, x = (cells[f"centroid_{axis}_px"].to_numpy(float)[order] for axis in "yx")
    height, width = quality["height_px"].to_numpy(float), quality["width_px"].to_numpy(float)
    points = Points(y, x, tile[order], height, width)
    distances = nearest_distances(points)
    is_filled = _tissue(quality) >= MIN_PATTERN_TISSUE * height * width
    pattern = {
        "median_nearest_neighbour_px": median_nearest(points, distances),
        "clark_evans_ratio": clark_evans(points, distances),
        "ripley_l_minus_r_px": ripley_l(points, radius_px),
    }
    return {name: np.where(is_filled, values, np.nan) for name, values in pattern.items()}


def _measure_positive(
    cells: pd.DataFrame, quality: pd.DataFrame, tile: NDArray[np.integer], calls: pd.Series
) -> dict[str, np.ndarray]:
    n_tiles, tissue_px = len(quality), _tissue(quality)
    is_missing = calls.isna().to_numpy()
    is_positive = calls.fillna(False).to_numpy(dtype=bool)
    n_cells = np.bincount(tile, minlength=n_tiles)
    n_missing = np.bincount(tile, is_missing, minlength=n_tiles)
    is_known = n_missing == 0
    if calls.name == MIXTURE:
        is_known &= (n_cells > 0) | _has_mixture(quality, tile, ~is_missing)
    n_positive = np.where(is_known, np.bincount(tile, is_positive, minlength=n_tiles), np.nan)
    area_px = np.bincount(tile, is_positive * cells["area_px"].to_numpy(), minlength=n_tiles)
    return {
        "positive_fraction": n_positive / np.where(n_cells > 0, n_cells, np.nan),
        "positive_density_per_mpx": _per_mpx(n_positive, tissue_px),
        "positive_area_fraction": np.where(is_known, area_px / tissue_px, np.nan),
    }


def _has_mixture(
    quality: pd.DataFrame, tile: NDArray[np.integer], is_called: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Returns whether any cell of the tile's donor and marker was called, (T,).

    Where a donor's mixture is not separated, its empty tiles do not have 0 positive cells: nothing
    is known of them, as of its other tiles.
    """
    group = quality.groupby(["donor", "marker"], sort=False, dropna=False).ngroup().to_numpy()
    return np.isin(group, group[tile[is_called]])


def _tissue(quality: pd.DataFrame) -> np.ndarray:
    tissue_px = quality["tissue_px"].to_numpy(dtype=np.float64)
    return np.where(tissue_px > 0, tissue_px, np.nan)


def _per_mpx(n_cells: np.ndarray, tissue_px: np.ndarray) -> np.ndarray:
    return n_cells / (tissue_px / _PX_PER_MPX)


def _check(
    cells: pd.DataFrame,
    quality: pd.DataFrame,
    positive: pd.DataFrame,
    pixel_size_um: float | None,
) -> None:
    needed = {
        "cells": (cells, ["tile_id", "area_px", "centroid_y_px", "centroid_x_px", "eccentricity",
                          "solidity", "marker_mean"]),
        "tile quality": (quality, [*TILE_COLUMNS, "height_px", "width_px", "tissue_px",
                                   "marker_median"]),
    }  # fmt: skip
    for table, (frame, names) in needed.items():
        missing = [name for name in names if name not in frame]
        if missing:
            raise BadInputError(f"{table} must have columns {', '.join(missing)}")
    if not positive.index.equals(cells.index):
        raise BadInputError(
            f"calls must have the rows of the cells, got {len(positive)} for {len(cells)} cells; "
            "pass what call_positive returned for these cells"
        )
    if pixel_size_um is not None and not pixel_size_um > 0:
        raise BadInputError(f"pixel_size_um must be above 0, got {pixel_size_um}")
