"""How firm a rho is over redraws of tiles within donors, for two segmentations of the same tiles.

Enters: donor values of both, and the tile values behind them. Leaves: variance of rho, consistency
of its sign and share of redraws with q < .05. Refuses: tile values that do not fit each other.

A redraw takes the same tiles for both segmentations, and makes donor values of them as the donor
table does: 20 % trimmed means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from somaflow.donors.discoveries import find_discoveries
from somaflow.donors.estimates import MIN_DONORS, two_sided_p
from somaflow.donors.pairs import Pair, find_variance, patterns, share_of_sign, take_donors
from somaflow.donors.ranks import Floats, spearman
from somaflow.donors.tables import subsample_donor_means
from somaflow.donors.tile_draws import draw_tiles
from somaflow.errors import BadInputError

MEASURES = ("variance", "sign_consistency", "found_share")


@dataclass(frozen=True)
class TileValues:
    """Tile values of both segmentations, of columns that have the same tiles."""

    columns: Sequence[str]
    """F names, as in the wide donor tables."""
    donors: NDArray[np.object_]
    """(N,) the donor of each tile, as text."""
    baseline: Floats
    """(N, F), NaN where undefined."""
    fine_tuned: Floats
    """(N, F), the same tiles."""


@dataclass(frozen=True)
class Redraws:
    """Tile values, and how they are redrawn."""

    tiles: Sequence[TileValues]
    share: float
    """Of a donor's tiles, drawn without replacement."""
    n_draws: int
    seed: int


def describe_tiles(
    pair: Pair,
    whole: Floats,
    redraws: Redraws,
    names: list[str],
    donors: list[str],
    families: NDArray[np.int64],
) -> dict[str, Floats]:
    """Returns variance, sign_consistency and found_share of rho over redraws of tiles.

    Args:
        pair: the donor values.
        whole: (2, C, T) rho of all tiles, whose sign is asked for.
        redraws: tile values, and how they are redrawn.
        names: C names of the pair's columns.
        donors: names of the pair's donors.
        families: (C,) codes, as for `share_found`.

    Returns:
        (2, C, T) each, NaN for columns without tile values.

    Raises:
        BadInputError: if tile values do not fit each other or the columns.
    """
    if not redraws.tiles:
        return {name: np.full(pair.shape, np.nan) for name in MEASURES}
    rho = np.full((redraws.n_draws, *pair.shape), np.nan)
    p = rho.copy()
    for part in redraws.tiles:
        places, values, codes = _read_tiles(part, names, donors)
        rho[:, :, places], p[:, :, places] = resample_tiles(
            pair, places, values, codes, redraws.share, redraws.n_draws, redraws.seed
        )
    there = np.isfinite(rho).any(axis=0)
    share = find_discoveries(p, families).mean(axis=0)
    return {
        "variance": find_variance(rho),
        "sign_consistency": share_of_sign(rho, whole),
        "found_share": np.where(there, share, np.nan),
    }


def _read_tiles(
    part: TileValues, names: list[str], donors: list[str]
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Places of the columns, values (2, N, F) and places of the donors, of compared donors."""
    values = [np.asarray(one, dtype=np.float64) for one in (part.baseline, part.fine_tuned)]
    expected = (len(part.donors), len(part.columns))
    if {one.shape for one in values} != {expected}:
        raise BadInputError(
            f"tile values must be (tiles, columns) = {expected} in both segmentations, got "
            f"{values[0].shape} and {values[1].shape}; give both the same tiles"
        )
    places = pd.Index(names).get_indexer(pd.Index(part.columns))
    if (places < 0).any():
        unknown = [part.columns[i] for i in np.flatnonzero(places < 0)[:5]]
        raise BadInputError(
            f"columns of tile values must be among those compared, not found: {', '.join(unknown)}"
        )
    codes = pd.Index(donors).get_indexer(pd.Index(part.donors))
    kept = codes >= 0
    return places, np.stack(values)[:, kept], codes[kept]


def resample_tiles(
    pair: Pair,
    columns: NDArray[np.int64],
    values: Floats,
    donors: NDArray[np.int64],
    share: float,
    n_draws: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """Returns rho and p of redraws of tiles within donors, the same for both segmentations.

    Args:
        pair: the donor values; a donor that is undefined there is left out here too.
        columns: (F,) places in the pair of the tile features.
        values: (2, N, F) tile values, NaN where undefined.
        donors: (N,) place of each tile's donor in the pair.
        share: of a donor's tiles, drawn without replacement.
        n_draws: R.
        seed: of the draws.

    Returns:
        (R, 2, F, T) rho and p, NaN where too few donors are left.
    """
    n_donors = pair.values.shape[2]
    masks = draw_tiles(donors, share, n_draws, seed)
    # (2, R, D, F) -> (R, 2, F, D)
    means = np.stack([subsample_donor_means(one, donors, masks, n_donors) for one in values])
    means = np.moveaxis(means, (0, 3), (1, 2))
    unknown = np.isnan(means).any(axis=1, keepdims=True) | np.isnan(pair.values[0, columns])
    rows = np.where(unknown, np.nan, means).reshape(-1, n_donors)
    rho = np.full((len(rows), len(pair.traits)), np.nan)
    p = rho.copy()
    for members, traits, known in patterns(~np.isnan(rows), ~np.isnan(pair.traits)):
        if len(known) >= MIN_DONORS + pair.n_covariates:
            some = spearman(
                rows[members][:, known],
                pair.traits[traits][:, known],
                take_donors(pair.covariates, known),
            )
            rho[np.ix_(members, traits)] = some
            p[np.ix_(members, traits)] = two_sided_p(some, len(known) - 2 - pair.n_covariates)
    shape = (n_draws, 2, len(columns), len(pair.traits))
    return rho.reshape(shape), p.reshape(shape)
