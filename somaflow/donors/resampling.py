"""Bootstrap resamples of donors, and Spearman's rho in each of them.

Enters: complete columns, one value a donor. Leaves: rho in every resample. A resample is a row of
counts, drawn from the number of donors and the seed alone: whatever is computed for the same
donors, one feature or another, one segmentation or another, is paired.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from somaflow.donors.ranks import Floats, rho_of_counts
from somaflow.errors import BadInputError


def draw_counts(n_donors: int, n_resamples: int, seed: int) -> NDArray[np.int64]:
    """Returns how often each donor is in each resample of n donors drawn with replacement.

    Args:
        n_donors: n >= 1.
        n_resamples: B >= 1.
        seed: of the draws; equal arguments give equal counts.

    Returns:
        (B, n) int64, rows add up to n.

    Raises:
        BadInputError: if a number is not whole or below 1.
    """
    for name, number in (("n_donors", n_donors), ("n_resamples", n_resamples)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise BadInputError(f"{name} must be a whole number >= 1, got {number!r}")
    drawn = np.random.default_rng(seed).integers(n_donors, size=(n_resamples, n_donors))
    cells = drawn + n_donors * np.arange(n_resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n_resamples * n_donors)
    return counts.reshape(n_resamples, n_donors)


def resample_rho(
    features: ArrayLike,
    traits: ArrayLike,
    covariates: ArrayLike | None = None,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Floats:
    """Returns (B, F, T) Spearman's rho in the resamples of `draw_counts`; partial with covariates.

    Args:
        features: (F, n) numbers, a row a feature, a column a donor; none missing.
        traits: (T, n), the same donors in the same order.
        covariates: (K, n) or None; ranked and regressed out anew in each resample.
        n_resamples: B >= 1. The result takes 8 B F T bytes: pass features in blocks.
        seed: of the draws.

    Returns:
        (B, F, T) float64, NaN where a column is constant in the resample.

    Raises:
        BadInputError: if a value is missing or the columns do not fit each other.
    """
    n_donors = np.shape(features)[-1] if np.ndim(features) else 0
    return rho_of_counts(features, traits, covariates, draw_counts(n_donors, n_resamples, seed))


def leave_one_out(n_donors: int) -> Floats:
    """Returns (n, n) counts, row i without donor i: the jackknife."""
    return 1 - np.eye(n_donors)
