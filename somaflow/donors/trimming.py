"""Trimmed means of tiles within donors, of all features and all redraws of tiles at once.

Enters: values a tile, the donor of each tile and which tiles count. Leaves: a mean a donor and
feature. Refuses: arrays that do not fit each other. A value that is NaN is as if its tile were not
there.

The mean is ``scipy.stats.trim_mean``: of n values, the int(share x n) smallest and as many largest
are left out. Tiles are sorted once, and each redraw only walks along them.
"""

import numba
import numpy as np

from somaflow.errors import BadInputError

TRIMMED_SHARE = 0.2
"""Share of a donor's tiles left out at either end (Wilcox 2012, doi:10.1016/C2010-0-67044-1)."""


def trimmed_means(
    values: np.ndarray, groups: np.ndarray, n_groups: int, share: float = TRIMMED_SHARE
) -> np.ndarray:
    """Returns the trimmed mean of each group and feature, NaN where a group has no value.

    Args:
        values: (N, F) real numbers, NaN = undefined.
        groups: (N,) integers in [0, n_groups), such as donor codes.
        n_groups: G.
        share: left out at either end, in [0, 0.5).

    Returns:
        (G, F) float64.

    Raises:
        BadInputError: if the arrays do not fit each other, or the share is out of range.
    """
    every = np.ones((1, len(values)), dtype=bool)
    return subsample_donor_means(values, groups, every, n_groups, share)[0]


def subsample_donor_means(
    values: np.ndarray,
    donors: np.ndarray,
    masks: np.ndarray,
    n_donors: int | None = None,
    share: float = TRIMMED_SHARE,
) -> np.ndarray:
    """Returns each donor's trimmed means over the tiles of each redraw.

    A mask of all tiles gives `trimmed_means`, bit for bit.

    Args:
        values: (N, F) real numbers a tile and feature, NaN = undefined.
        donors: (N,) integers in [0, n_donors), the donor of each tile.
        masks: (R, N) bool, the tiles of each redraw.
        n_donors: D; by default the largest code + 1.
        share: of a donor's tiles, left out at either end, in [0, 0.5).

    Returns:
        (R, D, F) float64, NaN where a donor has no value left.

    Raises:
        BadInputError: if the arrays do not fit each other, or the share is out of range.
    """
    values, donors = np.asarray(values, dtype=np.float64), np.asarray(donors)
    masks = np.ascontiguousarray(masks)
    n_donors = _check(values, donors, masks, n_donors, share)
    # (F, N) each: tiles by donor, and within a donor by value; NaN comes last.
    by_value = np.argsort(values.T, axis=1, kind="stable")
    by_donor = np.argsort(donors[by_value], axis=1, kind="stable")
    order = np.take_along_axis(by_value, by_donor, axis=1)
    ordered = np.take_along_axis(values.T, order, axis=1)
    ends = np.concatenate([[0], np.cumsum(np.bincount(donors, minlength=n_donors))])
    means = np.empty((len(masks), n_donors, values.shape[1]))
    _walk(ordered, order, ends, masks, float(share), means)
    return means


def _check(
    values: np.ndarray, donors: np.ndarray, masks: np.ndarray, n_donors: int | None, share: float
) -> int:
    if values.ndim != 2 or donors.shape != values.shape[:1] or donors.dtype.kind not in "iu":
        raise BadInputError(
            "values must be (N, F) and donors (N,) whole numbers, got "
            f"{values.shape} and {donors.shape} {donors.dtype}; pass codes of pandas.factorize"
        )
    if masks.dtype != np.bool_ or masks.shape[1:] != donors.shape:
        raise BadInputError(
            f"masks must be (R, {len(donors)}) bool, got {masks.shape} {masks.dtype}; "
            "give each redraw a row and each tile a column"
        )
    if not 0 <= share < 0.5:
        raise BadInputError(f"the trimmed share must be in [0, 0.5), got {share}")
    found = int(donors.max()) + 1 if donors.size else 0
    n_donors = found if n_donors is None else n_donors
    if found > n_donors or (donors.size and donors.min() < 0):
        raise BadInputError(
            f"donors must be in [0, {n_donors}), got {donors.min()} to {found - 1}; "
            "leave out tiles without a donor"
        )
    return n_donors


@numba.njit(cache=True)
def _walk(
    ordered: np.ndarray,
    order: np.ndarray,
    ends: np.ndarray,
    masks: np.ndarray,
    share: float,
    means: np.ndarray,
) -> None:
    n_features = ordered.shape[0]
    for redraw in range(masks.shape[0]):
        mask = masks[redraw]
        for feature in range(n_features):
            values, tiles = ordered[feature], order[feature]
            for donor in range(ends.size - 1):
                n_values = 0
                for place in range(ends[donor], ends[donor + 1]):
                    if mask[tiles[place]] and not np.isnan(values[place]):
                        n_values += 1
                cut = int(share * n_values)
                total, rank = 0.0, 0
                for place in range(ends[donor], ends[donor + 1]):
                    if mask[tiles[place]] and not np.isnan(values[place]):
                        if cut <= rank < n_values - cut:
                            total += values[place]
                        rank += 1
                kept = n_values - 2 * cut
                means[redraw, donor, feature] = total / kept if kept > 0 else np.nan
