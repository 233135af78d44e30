"""Two Gaussians in the marker of a donor's cells: the dim cells and the bright ones.

Enters: values, such as log mean intensities. Leaves: both Gaussians, the value at which a cell
belongs to either with equal probability, and whether the two are two at all. Refuses: values that
are not finite.

The fit is the EM algorithm (doi:10.1111/j.2517-6161.1977.tb01600.x). It starts from the values
below and above some quantiles and goes on with the likeliest: equal values give equal fits.
"""

from typing import NamedTuple

import numba
import numpy as np
import pandas as pd
from scipy.optimize import brentq

from somaflow.errors import BadInputError

MIN_CELLS = 50
MIN_DISTANCE = 2.0
"""Least D of Ashman, Bird and Zepf (1994, doi:10.1086/117248) of two Gaussians that stand apart."""
_MIN_MEMBERS = 10
_STARTS = (0.25, 0.5, 0.75, 0.9)
_N_TRIAL, _N_STEPS = 15, 1000
_TOLERANCE = 1e-10
# A Gaussian on a few equal values would grow infinitely narrow and likely.
_MIN_SD_SHARE = 0.05
_N_PARAMETERS_ONE, _N_PARAMETERS_TWO = 2, 5


class Mixture(NamedTuple):
    """Two Gaussians, in the unit of the values; all NaN where too few cells were there to fit."""

    mean_low: float
    mean_high: float
    sd_low: float
    sd_high: float
    weight_high: float
    """Share of the values in the upper Gaussian, 0 to 1."""
    threshold: float
    """Between both means, where either is as probable; NaN where there is no such value."""
    is_separated: bool
    """Whether BIC prefers two to one, Ashman's D is above 2, and each has ten values or more."""
    why: str
    """"" if they are separated, otherwise why not."""


def fit_mixture(values: np.ndarray) -> Mixture:
    """Returns the two Gaussians that the values most likely come from.

    Args:
        values: (N,) real and finite, in any order; below 50, or all equal, none are fitted.

    Raises:
        BadInputError: if a value is not finite.
    """
    values = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if not np.isfinite(values).all():
        raise BadInputError(
            "values of a mixture must be finite, found NaN or infinity; leave out cells of mean 0 "
            "before taking logarithms"
        )
    if values.size < MIN_CELLS:
        return _unfitted(f"{values.size} cells, {MIN_CELLS} needed")
    if values[0] == values[-1]:
        return _unfitted("all cells are equal")
    centre, scale = float(values.mean()), float(values.std())
    standard = (values - centre) / scale
    trials = [_expect(standard, _start(standard, share), _N_TRIAL) for share in _STARTS]
    best = max(trials, key=lambda trial: trial[1])[0]
    parameters, log_likelihood = _expect(standard, best, _N_STEPS)
    return _describe(parameters, log_likelihood, values.size, centre, scale)


def fit_mixtures(cells: pd.DataFrame) -> pd.DataFrame:
    """Returns the mixture of log marker_mean of each donor and marker, a row each.

    Args:
        cells: one row a cell: donor, marker, marker_mean. Cells of mean 0 have no logarithm and
            are left out of the fit.

    Returns:
        donor, marker, n_cells, the fields of `Mixture` (natural logarithms of grey levels) and
        marker_threshold, the threshold in grey levels, NaN unless the two are separated.
    """
    rows = []
    for (donor, marker), group in cells.groupby(["donor", "marker"], observed=True):
        means = group["marker_mean"].to_numpy(dtype=np.float64)
        fit = fit_mixture(np.log(means[means > 0]))
        level = float(np.exp(fit.threshold)) if fit.is_separated else np.nan
        rows.append(
            {"donor": donor, "marker": marker, "n_cells": len(means)}
            | fit._asdict()
            | {"marker_threshold": level}
        )
    columns = ["donor", "marker", "n_cells", *Mixture._fields, "marker_threshold"]
    return pd.DataFrame(rows, columns=columns)


def _unfitted(why: str) -> Mixture:
    nan = np.nan
    return Mixture(nan, nan, nan, nan, nan, nan, is_separated=False, why=why)


def _start(values: np.ndarray, share: float) -> np.ndarray:
    """Mean, sd and weight of the values below and above a quantile, (6,)."""
    cut = round(share * values.size)
    below, above = values[:cut], values[cut:]
    floor = _MIN_SD_SHARE
    return np.array(
        [
            below.mean(), above.mean(),
            max(below.std(), floor), max(above.std(), floor),
            share, 1 - share,
        ]
    )  # fmt: skip


def _describe(
    parameters: np.ndarray, log_likelihood: float, n_values: int, centre: float, scale: float
) -> Mixture:
    if parameters[0] > parameters[1]:
        parameters = parameters[[1, 0, 3, 2, 5, 4]]
    low, high, sd_low, sd_high, weight_low, weight_high = map(float, parameters)
    threshold = _find_threshold(parameters)
    # Of one Gaussian over standardised values.
    log_likelihood_one = -n_values / 2 * (np.log(2 * np.pi) + 1)
    gain = 2 * (log_likelihood - log_likelihood_one)
    price = (_N_PARAMETERS_TWO - _N_PARAMETERS_ONE) * np.log(n_values)
    distance = np.sqrt(2) * (high - low) / np.hypot(sd_low, sd_high)
    why = ""
    if gain <= price:
        why = "one Gaussian fits as well (BIC)"
    elif distance <= MIN_DISTANCE:
        why = f"Ashman's D is {distance:.2f}, above {MIN_DISTANCE:g} needed"
    elif min(weight_low, weight_high) * n_values < _MIN_MEMBERS or np.isnan(threshold):
        why = f"one of the two has fewer than {_MIN_MEMBERS} cells"
    return Mixture(
        mean_low=centre + scale * low,
        mean_high=centre + scale * high,
        sd_low=scale * sd_low,
        sd_high=scale * sd_high,
        weight_high=weight_high,
        threshold=centre + scale * threshold,
        is_separated=not why,
        why=why,
    )


def _find_threshold(parameters: np.ndarray) -> float:
    low, high, sd_low, sd_high, weight_low, weight_high = map(float, parameters)

    def log_odds(value: float) -> float:
        odds = np.log(weight_high / sd_high) - np.log(weight_low / sd_low)
        return odds - ((value - high) / sd_high) ** 2 / 2 + ((value - low) / sd_low) ** 2 / 2

    if min(weight_low, weight_high) <= 0 or log_odds(low) >= 0 or log_odds(high) <= 0:
        return np.nan
    # Between the means the odds only rise, so there is one such value.
    return float(brentq(log_odds, low, high, xtol=1e-12))


@numba.njit(cache=True, nogil=True)
def _expect(values: np.ndarray, start: np.ndarray, n_steps: int) -> tuple[np.ndarray, float]:
    """Runs EM on standardised values; returns (6,) parameters and the log likelihood."""
    parameters = start.copy()
    n_values = values.size
    last = -np.inf
    log_likelihood = -np.inf
    for _ in range(n_steps):
        low, high, sd_low, sd_high, weight_low, weight_high = parameters
        offset_low = np.log(weight_low / sd_low) - 0.5 * np.log(2 * np.pi)
        offset_high = np.log(weight_high / sd_high) - 0.5 * np.log(2 * np.pi)
        log_likelihood, sum_high, first_high, second_high = 0.0, 0.0, 0.0, 0.0
        first, second = 0.0, 0.0
        for value in values:
            a = offset_low - 0.5 * ((value - low) / sd_low) ** 2
            b = offset_high - 0.5 * ((value - high) / sd_high) ** 2
            rare = np.exp(-abs(a - b))
            log_likelihood += max(a, b) + np.log1p(rare)
            share = (1.0 if b > a else rare) / (1.0 + rare)
            sum_high += share
            first_high += share * value
            second_high += share * value * value
            first += value
            second += value * value
        if abs(log_likelihood - last) <= _TOLERANCE * n_values or not 0 < sum_high < n_values:
            break
        last = log_likelihood
        sum_low = n_values - sum_high
        parameters[0] = (first - first_high) / sum_low
        parameters[1] = first_high / sum_high
        spread_low = (second - second_high) / sum_low - parameters[0] ** 2
        spread_high = second_high / sum_high - parameters[1] ** 2
        parameters[2] = max(np.sqrt(max(spread_low, 0.0)), _MIN_SD_SHARE)
        parameters[3] = max(np.sqrt(max(spread_high, 0.0)), _MIN_SD_SHARE)
        parameters[4], parameters[5] = sum_low / n_values, sum_high / n_values
    return parameters, log_likelihood
