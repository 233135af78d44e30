"""Spearman's rho in resamples of donors: as somaflow does, and scipy on each resample and pair."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from somaflow.donors import associate
from somaflow.donors.ranks import Floats
from somaflow.donors.resampling import draw_counts, resample_rho
from tests.bench.timing import time_pair

_TRAITS, _COVARIATES = 8, 4


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
    donors, people = _make_study(n_donors, n_columns)
    traits = [name for name in people if name.startswith("t")]
    start = time.perf_counter()
    table = associate(donors, people, traits=traits, n_resamples=n_resamples)
    ours_s = time.perf_counter() - start
    x, y = donors["f1"], people["t0"]
    call_s, rho = _time_calls(lambda: stats.spearmanr(x, y).statistic, n_calls)
    return _describe(
        "associate", ours_s, call_s * n_columns * _TRAITS * n_resamples,
        table.set_index(["feature", "trait"]).rho["f1", "t0"], rho,
        f"scipy.stats.spearmanr once a pair and resample, told from {n_calls} calls; "
        f"{n_columns} columns x {_TRAITS} traits x {n_resamples} resamples of {n_donors} donors",
    )  # fmt: skip


def bench_associate_partial(
    n_donors: int = 69, n_columns: int = 264, n_resamples: int = 10_000, n_calls: int = 500
) -> dict[str, object]:
    """The same with four covariates: Spearman's rho and the partial one, both with intervals."""
    donors, people = _make_study(n_donors, n_columns)
    traits, covariates = (
        [name for name in people if name.startswith(letter)] for letter in ("t", "c")
    )
    start = time.perf_counter()
    table = associate(donors, people, traits=traits, covariates=covariates, n_resamples=n_resamples)
    ours_s = time.perf_counter() - start
    x, y, z = donors["f1"], people["t0"], people[covariates]
    call_s, rho = _time_calls(lambda: _partial_rho(x, y, z), n_calls)
    return _describe(
        "associate_partial", ours_s, call_s * n_columns * _TRAITS * n_resamples,
        table.set_index(["feature", "trait"]).partial_rho["f1", "t0"], rho,
        "ranks by scipy, residuals by numpy.linalg.lstsq, scipy.stats.pearsonr, once a pair and "
        f"resample, told from {n_calls} calls; {n_columns} columns x {_TRAITS} traits x "
        f"{_COVARIATES} covariates x {n_resamples} resamples of {n_donors} donors",
    )  # fmt: skip


def _make_study(n_donors: int, n_columns: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Donors' columns f..., and their graded traits t... and covariates c...; all compiled."""
    rng = np.random.default_rng(0)
    ids = [f"{index:08d}" for index in range(n_donors)]
    features = {f"f{index}": rng.standard_normal(n_donors).round(1) for index in range(n_columns)}
    for name in list(features)[::20]:
        features[name][:3] = np.nan  # donors with too few tiles of a marker
    people = {f"t{index}": rng.integers(0, 6, n_donors).astype(float) for index in range(_TRAITS)}
    people |= {f"c{index}": rng.standard_normal(n_donors) for index in range(_COVARIATES)}
    donors, traits = (pd.DataFrame({"donor": ids, **part}) for part in (features, people))
    associate(donors, traits, traits=["t0"], covariates=["c0"], n_resamples=2)
    return donors, traits


def _partial_rho(x: pd.Series, y: pd.Series, z: pd.DataFrame) -> float:
    others = np.column_stack([np.ones(len(z)), *(stats.rankdata(z[name]) for name in z)])
    residuals = [
        ranks - others @ np.linalg.lstsq(others, ranks)[0]
        for ranks in (stats.rankdata(x), stats.rankdata(y))
    ]
    return float(stats.pearsonr(*residuals).statistic)


def _time_calls(call: Callable[[], float], n_calls: int) -> tuple[float, float]:
    """Seconds of one call, mean, and what it returns."""
    start = time.perf_counter()
    found = [call() for _ in range(n_calls)]
    return (time.perf_counter() - start) / n_calls, found[-1]


def _describe(
    name: str, ours_s: float, theirs_s: float, ours: float, theirs: float, what: str
) -> dict[str, object]:
    return {
        "name": name,
        "ours_s": ours_s,
        "theirs_s": theirs_s,
        "ratio": theirs_s / ours_s,
        "equal": bool(np.isclose(ours, theirs, rtol=0, atol=1e-12)),
        "theirs": what,
    }
