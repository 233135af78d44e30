"""Spearman's rho in resamples of donors: as somaflow does, and scipy on each resample and pair."""

import time

import numpy as np
import pandas as pd
from scipy import stats

from somaflow.donors import associate
from somaflow.donors.ranks import Floats
from somaflow.donors.resampling import draw_counts, resample_rho
from tests.bench.timing import time_pair

_TRAITS = 8


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


def bench_associate(
    n_donors: int = 69, n_columns: int = 264, n_resamples: int = 10_000, n_calls: int = 500
) -> dict[str, object]:
    """All columns of a study against 8 traits, whole; scipy's hours are told from some calls."""
    rng = np.random.default_rng(0)
    ids = [f"{index:08d}" for index in range(n_donors)]
    features = {f"f{index}": rng.standard_normal(n_donors).round(1) for index in range(n_columns)}
    for name in list(features)[::20]:
        features[name][:3] = np.nan  # donors with too few tiles of a marker
    traits = {f"t{index}": rng.integers(0, 6, n_donors).astype(float) for index in range(_TRAITS)}
    donors, people = (pd.DataFrame({"donor": ids, **part}) for part in (features, traits))
    associate(donors, people, n_resamples=2)  # compiles
    start = time.perf_counter()
    table = associate(donors, people, n_resamples=n_resamples)
    ours_s = time.perf_counter() - start
    x, y = features["f1"], traits["t0"]
    start = time.perf_counter()
    rho = [stats.spearmanr(x, y).statistic for _ in range(n_calls)]
    theirs_s = (time.perf_counter() - start) / n_calls * n_columns * _TRAITS * n_resamples
    ours = table.set_index(["feature", "trait"]).rho["f1", "t0"]
    return {
        "name": "associate",
        "ours_s": ours_s,
        "theirs_s": theirs_s,
        "ratio": theirs_s / ours_s,
        "equal": bool(np.isclose(ours, rho[-1], rtol=0, atol=1e-12)),
        "theirs": f"scipy.stats.spearmanr once a pair and resample, told from {n_calls} calls; "
        f"{n_columns} columns x {_TRAITS} traits x {n_resamples} resamples of {n_donors} donors",
    }
