"""How far two segmentations agree on donors, and how far a donor's tiles agree with each other.

Enters: donor values of two segmentations, tile values, or two lists of associations. Leaves: a row
a feature (intraclass correlations, split-half reliability) or a trait (overlap of rankings).
Refuses: arrays that do not fit each other, lists of different associations.

A donor whose value is NaN in either segmentation is left out of that feature, and n says so.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from somaflow.donors.tables import subsample_donor_means
from somaflow.donors.tile_draws import deal_halves
from somaflow.errors import BadInputError

Floats = NDArray[np.float64]
_TAILS = (0.025, 0.975)


def intraclass_correlations(ratings: np.ndarray, features: Sequence[str]) -> pd.DataFrame:
    """Returns ICC(2,1), absolute agreement, and ICC(3,1), consistency, with 95 % intervals.

    Two-way models for single values, intervals from F distributions: McGraw & Wong 1996
    (doi:10.1037/1082-989X.1.1.30), cases 2A and 3. A segmentation that counts twice as many cells
    everywhere can be consistent, but does not agree.

    Args:
        ratings: (k, n, F) floats: k segmentations (2 or more) of n donors.
        features: F names.

    Returns:
        A row a feature: feature, n (donors with all k values), icc2, icc2_low, icc2_high, icc3,
        icc3_low, icc3_high; NaN where n < 3 or all values are equal.

    Raises:
        BadInputError: if the array is not (k >= 2, n, F) or the names are not F.
    """
    values = np.asarray(ratings, dtype=np.float64)
    if values.ndim != 3 or values.shape[0] < 2 or values.shape[2] != len(features):
        raise BadInputError(
            f"ratings must be (k >= 2 segmentations, n donors, {len(features)} features), got "
            f"{values.shape}; stack the donor tables of the segmentations along the first axis"
        )
    complete = np.asarray(np.isfinite(values).all(axis=0))
    k, n = values.shape[0], complete.sum(axis=0).astype(np.float64)
    squares = _mean_squares(values, complete, n)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        agreement, consistency = _agreement(squares, n, k), _consistency(squares, n, k)
    undefined = (n < 3) | (squares.sum(axis=0) <= 0)
    columns = {f"icc2{name}": np.where(undefined, np.nan, x) for name, x in agreement.items()}
    columns |= {f"icc3{name}": np.where(undefined, np.nan, x) for name, x in consistency.items()}
    return pd.DataFrame({"feature": list(features), "n": n.astype(int), **columns})


def _mean_squares(values: Floats, complete: NDArray[np.bool_], n: Floats) -> Floats:
    """(3, F): between donors, between segmentations, and rest."""
    k = len(values)
    n = np.maximum(n, 2)  # what has fewer is undefined, and said so later
    # Around the mean of a feature: sums of squares of large values would lose their digits.
    held = np.where(complete, values, 0.0)
    centred = np.where(complete, values - held.sum(axis=(0, 1)) / (k * n), 0.0)
    donors = k * (centred.mean(axis=0) ** 2).sum(axis=0)
    segmentations = n * ((centred.sum(axis=1) / n) ** 2).sum(axis=0)
    total = (centred**2).sum(axis=(0, 1))
    rest = total - donors - segmentations
    # Rounding leaves 1e-16 of the total where there is no rest.
    rest = np.where(rest > 1e-13 * total, rest, 0.0)
    return np.stack([donors / (n - 1), segmentations / (k - 1), rest / ((n - 1) * (k - 1))])


def _agreement(squares: Floats, n: Floats, k: int) -> dict[str, Floats]:
    donors, segmentations, rest = squares
    spread = k * segmentations + (k * n - k - n) * rest
    icc = n * (donors - rest) / (n * donors + spread)
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    parts = (a * segmentations) ** 2 / (k - 1) + (b * rest) ** 2 / ((n - 1) * (k - 1))
    degrees = (a * segmentations + b * rest) ** 2 / parts
    f_low = special.fdtri(n - 1, degrees, _TAILS[1])
    f_high = special.fdtri(degrees, n - 1, _TAILS[1])
    low = n * (donors - f_low * rest) / (f_low * spread + n * donors)
    high = n * (f_high * donors - rest) / (spread + n * f_high * donors)
    same = (segmentations == 0) & (rest == 0)
    return {"": icc, "_low": np.where(same, 1.0, low), "_high": np.where(same, 1.0, high)}


def _consistency(squares: Floats, n: Floats, k: int) -> dict[str, Floats]:
    donors, _, rest = squares
    degrees = (n - 1) * (k - 1)
    icc = (donors - rest) / (donors + (k - 1) * rest)
    low = donors / special.fdtri(n - 1, degrees, _TAILS[1])
    high = donors * special.fdtri(degrees, n - 1, _TAILS[1])
    return {
        "": icc,
        "_low": (low - rest) / (low + (k - 1) * rest),
        "_high": (high - rest) / (high + (k - 1) * rest),
    }


def split_half_reliability(
    values: np.ndarray,
    donors: np.ndarray,
    features: Sequence[str],
    n_splits: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns how well two random halves of each donor's tiles agree over donors.

    The tiles of each donor are dealt in two halves, again and again; the correlation r of the
    halves' donor values (20 % trimmed means) is stepped up to all tiles, 2 r / (1 + r) (Spearman
    and Brown, doi:10.1111/j.2044-8295.1910.tb00206.x). The range is over deals: what chance in the
    dealing does, not what other donors would.

    Args:
        values: (N, F) floats, a row a tile, NaN where a feature is undefined.
        donors: (N,) integers >= 0, the donor of each tile.
        features: F names.
        n_splits: R, the number of deals.
        seed: of the deals.

    Returns:
        A row a feature: feature, n (donors with 2 tiles or more where it is defined), n_left_out
        (donors with fewer), then for pearson and spearman the mean over deals, with _low and _high
        the range of 95 % of them. NaN with fewer than 3 donors or all values equal. A donor is also
        left out of a deal that gives all its defined tiles to one half.

    Raises:
        BadInputError: if the arrays do not fit each other, or `n_splits` is below 1.
    """
    values, donors = np.asarray(values, dtype=np.float64), np.asarray(donors)
    if values.shape != (len(donors), len(features)):
        raise BadInputError(
            f"values must be ({len(donors)} tiles, {len(features)} features), got {values.shape}"
        )
    n_donors = int(donors.max(initial=-1)) + 1
    tiles = np.zeros((n_donors, len(features)), dtype=int)
    np.add.at(tiles, donors, np.isfinite(values))
    enough = tiles >= 2
    first_half = deal_halves(donors, n_splits, seed)
    # (R, D, F) each; a single tile says nothing of how tiles agree.
    first, second = (
        np.where(enough, subsample_donor_means(values, donors, mask), np.nan)
        for mask in (first_half, ~first_half)
    )
    n_left_out = ((tiles > 0) & ~enough).sum(axis=0)
    table = {"feature": list(features), "n": enough.sum(axis=0), "n_left_out": n_left_out}
    for name, ranked in (("pearson", False), ("spearman", True)):
        table |= _describe_splits(name, _correlate(first, second, ranked=ranked))
    return pd.DataFrame(table)


def _describe_splits(name: str, r: Floats) -> dict[str, Floats]:
    """Mean and 95 % range over deals, stepped up; r: (R, F)."""
    # |r| below the line: without it, halves that disagree (r < 0) would step up to -infinity.
    stepped = 2 * r / (1 + np.abs(r))
    defined = np.isfinite(stepped)
    mean = np.where(defined, stepped, 0.0).sum(axis=0) / np.maximum(1, defined.sum(axis=0))
    mean = np.where(defined.any(axis=0), mean, np.nan)
    low, high = (_quantile(stepped, share) for share in _TAILS)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _quantile(values: Floats, share: float) -> Floats:
    """(F,) quantile of each column's defined values, NaN where there are none."""
    empty = np.isnan(values).all(axis=0)
    filled = np.where(empty, 0.0, values)
    return np.where(empty, np.nan, np.nanquantile(filled, share, axis=0))


def _correlate(first: Floats, second: Floats, ranked: bool) -> Floats:
    """(R, F) correlation over donors of (R, D, F) and (R, D, F), where both are defined."""
    both = np.isfinite(first) & np.isfinite(second)
    sides = []
    for side in (first, second):
        held = np.where(both, side, np.nan)
        if ranked:
            held = stats.rankdata(held, axis=1, nan_policy="omit")
        n = np.maximum(1, both.sum(axis=1, keepdims=True))
        mean = np.where(both, held, 0.0).sum(axis=1, keepdims=True) / n
        sides.append(np.where(both, held - mean, 0.0))
    x, y = sides
    spread = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    r = np.divide((x * y).sum(axis=1), spread, out=np.full(spread.shape, np.nan), where=spread > 0)
    return np.where(both.sum(axis=1) < 3, np.nan, r)


def compare_rankings(first: pd.DataFrame, second: pd.DataFrame, top: int = 10) -> pd.DataFrame:
    """Returns how far two lists of associations put the same features first, for each trait.

    Args:
        first: a row a feature and trait: feature, trait, rho; as from `associate`.
        second: the same features and traits of another segmentation.
        top: k; the k features of largest |rho| are compared as sets.

    Returns:
        A row a trait, in order of appearance: trait, n_features (with a rho in both), kendall_tau
        of |rho|, top (k, or all where there are fewer) and jaccard_top: the share that the two sets
        have in common. About k / (2 n - k) is chance.

    Raises:
        BadInputError: if the lists lack a column, hold other features or traits, or one twice.
    """
    if top < 1:
        raise BadInputError(f"top must be at least 1, got {top!r}")
    keys = ["trait", "feature"]
    rho = [_rho_of(table, keys, name) for table, name in ((first, "first"), (second, "second"))]
    if set(rho[0].index) != set(rho[1].index):
        different = sorted(set(rho[0].index) ^ set(rho[1].index))[:5]
        raise BadInputError(
            f"both lists must hold the same traits and features, only in one: {different}; take "
            "the recipe out of the features' names"
        )
    both = pd.concat(rho, axis=1, keys=["first", "second"]).abs().dropna()
    traits = dict.fromkeys(first["trait"])
    return pd.DataFrame([_overlap(trait, both, top) for trait in traits])


def _rho_of(table: pd.DataFrame, keys: list[str], name: str) -> "pd.Series[float]":
    missing = [column for column in [*keys, "rho"] if column not in table]
    if missing:
        raise BadInputError(f"the {name} list must have a column {', '.join(missing)}")
    rho = table.set_index(keys)["rho"].astype(float)
    if rho.index.has_duplicates:
        twice = rho.index[rho.index.duplicated()][0]
        raise BadInputError(
            f"the {name} list must hold each trait and feature once, found twice: {twice}; "
            "select one recipe"
        )
    return rho


def _overlap(trait: str, both: pd.DataFrame, top: int) -> dict[str, object]:
    here = both[both.index.get_level_values("trait") == trait]
    k = min(top, len(here))
    leaders = [set(here[side].nlargest(k).index) for side in ("first", "second")]
    tau = stats.kendalltau(here["first"], here["second"]).statistic if len(here) > 1 else np.nan
    jaccard = len(leaders[0] & leaders[1]) / len(leaders[0] | leaders[1]) if k else np.nan
    return {
        "trait": trait,
        "n_features": len(here),
        "kendall_tau": float(tau),
        "top": k,
        "jaccard_top": jaccard,
    }
