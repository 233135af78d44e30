"""How recipes compare on the same donors: agreement, reliability, stability.

Enters: tile features by recipe, tile quality, the wide donor table and what its columns are.
Leaves: tables by name. Refuses: what its parts refuse.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from somaflow.donors.agreement import (
    compare_rankings,
    intraclass_correlations,
    split_half_reliability,
)
from somaflow.donors.stability import compare_stability
from somaflow.donors.tables import ALL_REGIONS
from somaflow.donors.tile_features import SEPARATOR
from somaflow.donors.tile_stability import TileValues
from somaflow.settings import DonorStatistics

PRIMARY = "primary"
"""The family of associations that are declared before anything is seen."""
WHAT = ["marker", "region", "phenotype", "feature"]
"""What a column of numbers is, but for its recipe."""


def usable_tiles(tile_features: pd.DataFrame, quality: pd.DataFrame, marker: str) -> pd.DataFrame:
    """Tiles of a marker that pass quality, sorted by tile_id."""
    passing = quality.tile_id[quality.passes]
    chosen = (tile_features.marker == marker) & tile_features.tile_id.isin(passing)
    return tile_features[chosen].sort_values("tile_id", ignore_index=True)


def name_places(columns: pd.DataFrame) -> list[str]:
    """Where each donor column's values stand in the tile features."""
    return [f"{row.phenotype}{SEPARATOR}{row.feature}" for row in columns.itertuples()]


def measure_reliability(
    features: Mapping[str, pd.DataFrame], quality: pd.DataFrame, columns: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """Split-half reliability of each column over all regions; no row where there is no column.

    Args:
        features: tile features by recipe.
        quality: of all tiles.
        columns: of `widen`.
        seed: of the deals.
    """
    here = columns[columns.region == ALL_REGIONS]
    found = [pd.DataFrame(columns=["column"])]
    for (recipe, marker), rows in here.groupby(["recipe", "marker"], sort=False):
        tiles = usable_tiles(features[str(recipe)], quality, str(marker))
        codes, _ = pd.factorize(tiles.donor, sort=True)
        values = tiles[name_places(rows)].to_numpy(dtype=np.float64)
        halves = split_half_reliability(values, codes, rows.column.tolist(), seed=seed)
        found.append(halves.rename(columns={"feature": "column"}))
    parts = found[1:] or found
    return columns[["column", "recipe", *WHAT]].merge(
        pd.concat(parts, ignore_index=True), on="column"
    )


def measure_agreement(
    wide: pd.DataFrame, columns: pd.DataFrame, recipe: str, baseline: str
) -> pd.DataFrame:
    """Intraclass correlations of donor values by two recipes, over all regions.

    Args:
        wide: of `widen`.
        columns: likewise.
        recipe: that is relied on.
        baseline: it is compared with.
    """
    pairs = _pair_columns(columns, recipe, baseline)
    ratings = np.stack([_values(wide, pairs, one) for one in (baseline, recipe)])
    found = intraclass_correlations(ratings, pairs.column.tolist())
    merged = pairs[["column", *WHAT]].merge(found.rename(columns={"feature": "column"}))
    return merged.drop(columns="column").assign(recipe=recipe, versus=baseline)


def compare_with_baseline(
    features: Mapping[str, pd.DataFrame],
    quality: pd.DataFrame,
    wide: pd.DataFrame,
    columns: pd.DataFrame,
    traits: pd.DataFrame,
    trait_names: Sequence[str],
    settings: DonorStatistics,
    seed: int,
    recipe: str,
    baseline: str,
) -> dict[str, pd.DataFrame]:
    """Tables `stability` and `rankings` of a recipe against a baseline.

    Raises:
        BadInputError: as `compare_stability`.
    """
    pairs = _pair_columns(columns, recipe, baseline)
    before, after = (
        pd.DataFrame(_values(wide, pairs, one), columns=pairs.column.tolist()).assign(
            donor=wide["donor"]
        )
        for one in (baseline, recipe)
    )
    found = compare_stability(
        before,
        after,
        traits,
        columns=pairs[["column", *WHAT]],
        trait_names=trait_names,
        primary=pairs.column[pairs.family.str.endswith(PRIMARY)].tolist(),
        tiles=_pair_tiles(features[baseline], features[recipe], quality, pairs),
        n_resamples=settings.n_resamples,
        n_tile_resamples=settings.n_tile_draws,
        seed=seed,
    )
    ranked = [
        found[["trait"]].assign(feature=found["column"], rho=found[f"rho_{side}"])
        for side in ("baseline", "fine_tuned")
    ]
    tables = {"stability": found, "rankings": compare_rankings(ranked[0], ranked[1])}
    return {name: table.assign(recipe=recipe, versus=baseline) for name, table in tables.items()}


def can_compare(columns: pd.DataFrame, recipe: str, baseline: str) -> bool:
    """Whether there is any feature of which both recipes have values over all regions."""
    return len(_pair_columns(columns, recipe, baseline)) > 0


def _pair_columns(columns: pd.DataFrame, recipe: str, baseline: str) -> pd.DataFrame:
    """What both recipes have over all regions, `column` without the recipe."""
    here = columns[columns.region == ALL_REGIONS]
    both = here[here.recipe == recipe].merge(here.loc[here.recipe == baseline, WHAT], on=WHAT)
    names = [SEPARATOR.join(what) for what in both[WHAT].itertuples(index=False)]
    return both.assign(column=pd.Series(names, both.index, dtype="str"))


def _values(wide: pd.DataFrame, pairs: pd.DataFrame, recipe: str) -> np.ndarray:
    names = [f"{recipe}{SEPARATOR}{name}" for name in pairs.column]
    return wide[names].to_numpy(dtype=np.float64)


def _pair_tiles(
    baseline: pd.DataFrame, fine_tuned: pd.DataFrame, quality: pd.DataFrame, pairs: pd.DataFrame
) -> list[TileValues]:
    """Tile values of each marker, of the tiles that both recipes have segmented."""
    found = []
    for marker, rows in pairs.groupby("marker", sort=False):
        base, fine = (usable_tiles(table, quality, str(marker)) for table in (baseline, fine_tuned))
        base, fine = base[base.tile_id.isin(fine.tile_id)], fine[fine.tile_id.isin(base.tile_id)]
        places = name_places(rows)
        found.append(
            TileValues(
                columns=rows.column.tolist(),
                donors=base.donor.to_numpy(dtype=object),
                baseline=base[places].to_numpy(dtype=np.float64),
                fine_tuned=fine[places].to_numpy(dtype=np.float64),
            )
        )
    return found
