"""Spearman's rho in resamples of donors: as somaflow does, and scipy on each resample and pair."""

import numpy as np
from scipy import stats

from somaflow.donors.ranks import Floats
from somaflow.donors.resampling import draw_counts, resample_rho
from tests.bench.timing import time_pair


def bench_spearman_bootstrap(
    n_donors: int = 69, n_features: int = 6, n_traits: int = 4, n_resamples: int = 100
) -> dict[str, object]:
    """Features with and without ties against graded traits; equal to 1e-12."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n_features, n_donors))
    features[::2] = np.round(features[::2], 1)
    traits = rng.integers(0, 6, size=(n_traits, n_donors)).astype(np.float64)
    ours = resample_rho(features, traits, None, n_resamples)
    theirs = _loop(features, traits, n_resamples)
    return {
        "name": "spearman_bootstrap",
        **time_pair(
            lambda: resample_rho(features, traits, None, n_resamples),
            lambda: _loop(features, traits, n_resamples),
            n_repeats=3,
        ),
        "equal": bool(np.allclose(ours, theirs, rtol=0, atol=1e-12)),
        "theirs": f"a loop over scipy.stats.spearmanr, {n_features} features x {n_traits} traits x "
        f"{n_resamples} resamples of {n_donors} donors",
    }


def _loop(features: Floats, traits: Floats, n_resamples: int) -> Floats:
    n_donors = features.shape[1]
    rho = np.empty((n_resamples, len(features), len(traits)))
    for draw, counts in enumerate(draw_counts(n_donors, n_resamples, seed=0)):
        index = np.repeat(np.arange(n_donors), counts)
        for feature, trait in np.ndindex(len(features), len(traits)):
            x, y = features[feature][index], traits[trait][index]
            rho[draw, feature, trait] = stats.spearmanr(x, y).statistic
    return rho
