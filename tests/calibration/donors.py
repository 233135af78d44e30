"""Simulated donors: features and traits tied by a Gaussian copula of known Spearman rho.

Two standard normal latents with Pearson's r have rho = 6 / pi asin(r / 2). A trait in grades has
ties, and its population rho (Pearson's r of midranks) follows from the bivariate normal
distribution: with u, z, t normal, u free of both and corr(z, t) = r,

    E[F(z) 1(t <= c)] = P(u <= z, t <= c) = Phi2(0, c; -r / sqrt 2).
"""

from functools import cache

import numpy as np
from scipy import optimize, stats

from somaflow.donors.ranks import Floats

N_DONORS = 69
GRADES = (0.10, 0.20, 0.30, 0.25, 0.15)
"""Shares of donors in the five grades of a graded trait."""


def latent_r(rho: float, graded: bool) -> float:
    """Returns Pearson's r of the latents that gives a population Spearman `rho`."""
    if not graded or rho == 0:
        return float(2 * np.sin(np.pi * rho / 6))
    return float(optimize.brentq(lambda r: graded_rho(r) - rho, 0.0, 0.999))


@cache
def graded_rho(r: float) -> float:
    """Returns the population Spearman rho of a continuous and a graded variable, by formula."""
    shares = np.array(GRADES)
    ends = np.cumsum(shares)
    middles = ends - shares / 2
    cuts = stats.norm.ppf(np.clip(ends[:-1], 0, 1))
    normal = stats.multivariate_normal(mean=[0, 0], cov=[[1, -r / 2**0.5], [-r / 2**0.5, 1]])
    below = np.array([0.0, *(normal.cdf([0.0, cut]) for cut in cuts), 0.5])
    covariance = float(middles @ np.diff(below)) - 0.25
    variance = float((middles**2 * shares).sum()) - 0.25
    return covariance / np.sqrt(variance / 12)


def tied_to(rng: np.random.Generator, latent: Floats, r: float) -> Floats:
    """Returns a standard normal variable with Pearson's `r` to `latent`."""
    return r * latent + np.sqrt(1 - r * r) * rng.standard_normal(latent.shape)


def grade(latent: Floats) -> Floats:
    """Returns the grades 0 to 4 of a standard normal latent."""
    cuts = stats.norm.ppf(np.cumsum(GRADES)[:-1])
    return np.searchsorted(cuts, latent).astype(np.float64)
