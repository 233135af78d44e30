"""Bias-corrected and accelerated bootstrap intervals, for many estimates at once.

Enters: estimates, their resamples and their leave-one-out values. Leaves: low and high of each.
Efron 1987 (doi:10.1080/01621459.1987.10478410). The bias counts half of the resamples that tie
with the estimate, as rank correlations of few grades do; undefined resamples are left out.
"""

import numpy as np
from scipy import special

from somaflow.donors.ranks import Floats


def bca_intervals(
    estimates: Floats, draws: Floats, jackknife: Floats, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Returns the lower and upper ends of the BCa intervals.

    Args:
        estimates: (...) float64, of the whole sample.
        draws: (B, ...) float64, of the resamples; NaN where undefined.
        jackknife: (n, ...) float64, leaving out one donor each; NaN where undefined.
        level: share of intervals that should hold the truth.

    Returns:
        Two arrays (...) float64, NaN where the estimate or all its resamples are undefined, or
        where the acceleration is too strong for an interval to exist.
    """
    values = estimates.reshape(-1)
    # (B, ...) -> (P, B): each estimate's resamples side by side, undefined ones last.
    ordered = np.sort(draws.reshape(len(draws), -1).T, axis=1)
    n_defined = np.count_nonzero(~np.isnan(ordered), axis=1)
    bias = _bias(values, ordered, n_defined)
    acceleration = _acceleration(jackknife.reshape(len(jackknife), -1).T)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + special.ndtri(tail)
        scale = 1 - acceleration * z
        shares = np.full(len(values), np.nan)
        np.divide(z, scale, out=shares, where=scale > 0)
        ends.append(_quantiles(ordered, n_defined, special.ndtr(bias + shares)))
    low, high = (end.reshape(estimates.shape) for end in ends)
    return low, high


def _bias(values: Floats, ordered: Floats, n_defined: np.ndarray) -> Floats:
    """z0. An estimate beyond all its resamples counts as beyond all but half a resample."""
    below = np.count_nonzero(ordered < values[:, None], axis=1)
    ties = np.count_nonzero(ordered == values[:, None], axis=1)
    n = np.maximum(n_defined, 1)
    share = np.clip((below + ties / 2) / n, 0.5 / n, 1 - 0.5 / n)
    return np.where(np.isnan(values), np.nan, special.ndtri(share))


def _acceleration(jackknife: Floats) -> Floats:
    """Sum of d^3 over 6 (sum of d^2)^1.5, d = mean - leave-one-out; 0 where nothing varies."""
    # (P, n), each row contiguous: its sum does not depend on how many rows there are.
    left_out = np.ascontiguousarray(jackknife)
    defined = ~np.isnan(left_out)
    n = np.maximum(defined.sum(axis=1), 1)
    mean = np.where(defined, left_out, 0).sum(axis=1) / n
    away = np.where(defined, mean[:, None] - left_out, 0)
    squares = (away * away).sum(axis=1)
    # Equal values differ from their mean by rounding.
    varies = squares > 1e-24 * n
    cubes = (away * away * away).sum(axis=1)
    acceleration = np.zeros(len(squares))
    return np.divide(cubes, 6 * squares * np.sqrt(squares), out=acceleration, where=varies)


def _quantiles(ordered: Floats, n_defined: np.ndarray, shares: Floats) -> Floats:
    """One quantile a row of sorted values, linear between neighbours as ``numpy.quantile``."""
    place = np.where(np.isnan(shares), 0, shares) * np.maximum(n_defined - 1, 0)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, np.maximum(n_defined - 1, 0))
    rows = np.arange(len(ordered))
    low, high = ordered[rows, below], ordered[rows, above]
    return np.where(np.isnan(shares), np.nan, low + (high - low) * (place - below))
