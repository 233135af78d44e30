import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from somaflow.donors.bca import bca_intervals
from somaflow.donors.ranks import rho_of_counts, spearman
from somaflow.donors.resampling import leave_one_out, resample_rho

Floats = NDArray[np.float64]


def _interval(x: Floats, y: Floats, n_resamples: int, seed: int) -> Floats:
    n = len(x)
    jackknife = rho_of_counts([x], [y], None, leave_one_out(n))
    draws = resample_rho([x], [y], None, n_resamples, seed)
    return np.ravel(bca_intervals(spearman([x], [y]), draws, jackknife))


def _spearman(x: Floats, y: Floats) -> float:
    return float(stats.spearmanr(x, y).statistic)


def _columns(n_grades: int | None) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(30)
    y = x + 0.7 * rng.standard_normal(30)
    return x, y if n_grades is None else np.digitize(y, np.linspace(-1, 1, n_grades - 1))


@pytest.mark.parametrize("n_grades", [None, 4])
def test_bca_equals_scipy_on_the_same_draws(n_grades: int | None) -> None:
    """Both draw the same donors from the same seed, so nothing is left to chance."""
    x, y = _columns(n_grades)
    reference = stats.bootstrap(
        (x, y),
        _spearman,
        n_resamples=1000,
        paired=True,
        vectorized=False,
        method="BCa",
        rng=np.random.default_rng(4),
    )

    expected = reference.confidence_interval
    np.testing.assert_allclose(_interval(x, y, 1000, 4), expected, rtol=0, atol=1e-9)


def test_bca_agrees_with_scipy_on_other_draws() -> None:
    """Two seeds differ by Monte Carlo error only."""
    x, y = _columns(None)
    reference = stats.bootstrap(
        (x, y),
        _spearman,
        n_resamples=1500,
        paired=True,
        vectorized=False,
        method="BCa",
        rng=np.random.default_rng(9),
    )

    expected = reference.confidence_interval
    np.testing.assert_allclose(_interval(x, y, 20_000, 0), expected, rtol=0, atol=0.05)


def test_bca_without_bias_and_acceleration_is_the_percentile_interval() -> None:
    """Symmetric draws around the estimate and a symmetric jackknife change nothing."""
    draws = np.linspace(-1, 1, 1001)[:, None]

    ends = bca_intervals(np.zeros(1), draws, np.array([[-1.0], [0.0], [1.0]]), level=0.9)
    np.testing.assert_allclose(np.ravel(ends), [-0.9, 0.9], atol=1e-12)


def test_bca_counts_half_of_the_ties() -> None:
    """A tenth below, a tenth above and the rest equal is no bias at all."""
    draws = np.repeat([-0.5, 0.0, 0.5], [10, 80, 10])[:, None]

    ends = bca_intervals(np.zeros(1), draws, np.zeros((4, 1)), level=0.9)
    np.testing.assert_array_equal([-0.5, 0.5], np.ravel(ends))


def test_bca_leaves_out_undefined_resamples() -> None:
    """NaN among draws and jackknife change nothing."""
    rng = np.random.default_rng(0)
    draws, jackknife = rng.standard_normal((400, 2)), rng.standard_normal((9, 2))
    gaps = np.full((50, 2), np.nan)

    expected = bca_intervals(np.zeros(2), draws, jackknife)
    with_gaps = [np.concatenate([gaps, values]) for values in (draws, jackknife)]
    np.testing.assert_allclose(bca_intervals(np.zeros(2), *with_gaps), expected, rtol=1e-12)


def test_bca_of_a_perfect_rho_is_that_rho() -> None:
    """All resamples tie with the estimate."""
    x = np.arange(8.0)

    np.testing.assert_array_equal([1.0, 1.0], _interval(x, x**2, 500, 0))


def test_bca_beyond_all_resamples_stays_finite() -> None:
    """An estimate below every resample is pulled to their low end, not to NaN."""
    draws = np.linspace(0.1, 0.5, 200)[:, None]

    low, high = np.ravel(bca_intervals(np.zeros(1), draws, np.zeros((5, 1))))
    assert 0.1 <= low <= high < 0.3


@pytest.mark.parametrize(("estimate", "draw"), [(np.nan, 0.3), (0.3, np.nan)])
def test_bca_of_nothing_is_nan(estimate: float, draw: float) -> None:
    """No estimate or no defined resample gives no interval."""
    ends = bca_intervals(np.array([estimate]), np.full((20, 1), draw), np.zeros((5, 1)))

    assert np.isnan(ends).all()
