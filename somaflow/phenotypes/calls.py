"""Each cell's call by each rule, all tiles at once.

Enters: the cell table, the tiles' quality table. Leaves: a nullable boolean column a rule.
Refuses: cells of tiles without a row of quality, and unknown rules.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from somaflow.errors import BadInputError
from somaflow.phenotypes.mixture import fit_mixtures
from somaflow.phenotypes.thresholds import (
    MIXTURE,
    PHENOTYPES,
    check_phenotypes,
    tile_thresholds,
)

_MAX_NAMED = 3


def call_positive(
    cells: pd.DataFrame,
    quality: pd.DataFrame,
    phenotypes: Sequence[str] = PHENOTYPES,
    mixtures: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Returns whether each cell is positive, a column a phenotype, indexed like `cells`.

    A cell is positive where its marker_mean is above the threshold. The call is missing where the
    tile was not measured or the donor's mixture is not separated; `mixtures` says why.

    Args:
        cells: one row a cell: tile_id, donor, marker, marker_mean.
        quality: one row a tile: tile_id and the thresholds asked for; where it has `passes`,
            mixtures are fitted to the cells of tiles that pass.
        phenotypes: names of `PHENOTYPES`.
        mixtures: of `fit_mixtures`; by default fitted here.

    Returns:
        Columns of dtype boolean, in the order of `phenotypes`.

    Raises:
        BadInputError: if a phenotype is unknown, a column is missing, or a cell's tile has no row
            or several.
    """
    names = check_phenotypes(phenotypes)
    _check_columns(cells)
    tile = find_tiles(cells["tile_id"], quality)
    means = cells["marker_mean"].to_numpy(dtype=np.float64)
    by_tile = [name for name in names if name != MIXTURE]
    thresholds = dict(zip(by_tile, tile_thresholds(quality, by_tile).T, strict=True))
    calls = {name: _compare(means, levels[tile]) for name, levels in thresholds.items()}
    if MIXTURE in names:
        if mixtures is None:
            mixtures = fit_mixtures(_passing(cells, quality, tile))
        calls[MIXTURE] = _compare(means, _mixture_thresholds(cells, mixtures))
    return pd.DataFrame({name: calls[name] for name in names}, index=cells.index)


def find_tiles(tile_ids: pd.Series, quality: pd.DataFrame) -> np.ndarray:
    """Returns the row of `quality` of each tile_id, (N,) integers.

    Raises:
        BadInputError: if a tile has no row, or any has several.
    """
    if "tile_id" not in quality:
        raise BadInputError("tile quality must have a column tile_id, one row a tile")
    index = pd.Index(quality["tile_id"])
    if index.has_duplicates:
        twice = index[index.duplicated()].unique()
        raise BadInputError(
            f"tile quality must have each tile once, found twice: {_name(twice)}; "
            "leave out repeated rows"
        )
    codes, names = pd.factorize(tile_ids)
    rows = index.get_indexer(pd.Index(names))
    if (rows < 0).any() or (codes < 0).any():
        unknown = pd.Index(names)[rows < 0]
        raise BadInputError(
            f"each cell's tile must have a row of quality, found none for {_name(unknown)}; "
            "measure these tiles, or leave their cells out"
        )
    return rows[codes]


def _name(names: pd.Index) -> str:
    listed = ", ".join(map(str, names[:_MAX_NAMED]))
    return listed + (f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")


def _check_columns(cells: pd.DataFrame) -> None:
    missing = [name for name in ("tile_id", "donor", "marker", "marker_mean") if name not in cells]
    if missing:
        raise BadInputError(
            f"cells must have columns {', '.join(missing)}; pass the cell table of e5-inference"
        )


def _compare(means: np.ndarray, thresholds: np.ndarray) -> pd.arrays.BooleanArray:
    return pd.arrays.BooleanArray(means > thresholds, np.isnan(thresholds) | np.isnan(means))


def _passing(cells: pd.DataFrame, quality: pd.DataFrame, tile: np.ndarray) -> pd.DataFrame:
    if "passes" not in quality:
        return cells
    return cells[quality["passes"].to_numpy(dtype=bool)[tile]]


def _mixture_thresholds(cells: pd.DataFrame, mixtures: pd.DataFrame) -> np.ndarray:
    """Returns each cell's threshold, (N,) grey levels, NaN where its donor has none."""
    keys = ["donor", "marker"]
    group = cells.groupby(keys, sort=False, observed=True, dropna=False)
    names = cells.loc[~cells.duplicated(keys), keys]
    levels = names.merge(mixtures[[*keys, "marker_threshold"]], on=keys, how="left")
    return levels["marker_threshold"].to_numpy(dtype=np.float64)[group.ngroup().to_numpy()]
