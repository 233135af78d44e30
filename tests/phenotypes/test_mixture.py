import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from somaflow.errors import BadInputError
from somaflow.phenotypes import fit_mixture, fit_mixtures


def _draw(
    rng: np.random.Generator,
    n_low: int,
    n_high: int,
    distance: float = 4.0,
    sd_high: float = 1.0,
) -> np.ndarray:
    """Values of two Gaussians, the lower one at 2 with standard deviation 1."""
    return np.concatenate([rng.normal(2, 1, n_low), rng.normal(2 + distance, sd_high, n_high)])


def test_fit_mixture_finds_known_gaussians() -> None:
    """Means, spreads and share of two Gaussians come out as drawn, to within sampling error."""
    fit = fit_mixture(_draw(np.random.default_rng(0), 60_000, 20_000, 5.0, 0.5))
    assert [2, 7, 1, 0.5, 0.25] == pytest.approx(list(fit[:5]), abs=0.03)
    assert fit.is_separated
    assert "" == fit.why


def test_fit_mixture_reaches_the_greatest_likelihood() -> None:
    """No small step in any parameter makes the values likelier."""
    values = _draw(np.random.default_rng(1), 900, 300)
    fit = fit_mixture(values)
    found = np.array(fit[:5])

    def log_likelihood(parameters: np.ndarray) -> float:
        low, high, sd_low, sd_high, share = parameters
        density = (1 - share) * norm.pdf(values, low, sd_low)
        return float(np.log(density + share * norm.pdf(values, high, sd_high)).sum())

    for index in range(5):
        for step in (-1e-3, 1e-3):
            other = found.copy()
            other[index] += step
            assert log_likelihood(other) < log_likelihood(found)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(0.3, 3), st.integers(50, 400))
def test_threshold_is_where_both_are_as_probable(seed: int, sd_high: float, n_high: int) -> None:
    """At the threshold both weighted densities are equal, and it lies between the means."""
    fit = fit_mixture(_draw(np.random.default_rng(seed), 300, n_high, 9.0, sd_high))
    low = (1 - fit.weight_high) * norm.pdf(fit.threshold, fit.mean_low, fit.sd_low)
    high = fit.weight_high * norm.pdf(fit.threshold, fit.mean_high, fit.sd_high)
    assert low == pytest.approx(high, rel=1e-6)
    assert fit.mean_low < fit.threshold < fit.mean_high


def test_one_gaussian_is_not_separated() -> None:
    """Of 200 draws of one Gaussian, none is called two."""
    rng = np.random.default_rng(2)
    fits = [fit_mixture(rng.normal(0, 1, 300)) for _ in range(200)]
    assert 0 == sum(fit.is_separated for fit in fits)


def test_rare_bright_cells_are_found() -> None:
    """One cell in twenty far above the others is the upper Gaussian."""
    fit = fit_mixture(_draw(np.random.default_rng(3), 1900, 100, 6.0))
    assert fit.is_separated
    assert 0.05 == pytest.approx(fit.weight_high, abs=0.01)


def test_overlapping_gaussians_are_not_separated_and_say_so() -> None:
    """Two Gaussians that BIC tells apart, but nearer than Ashman's D of 2, name the distance."""
    fit = fit_mixture(_draw(np.random.default_rng(4), 20_000, 5_000, 0.3, 3.0))
    assert not fit.is_separated
    assert "Ashman" in fit.why


@pytest.mark.parametrize(
    ("values", "why"), [(np.arange(49.0), "49 cells, 50 needed"), (np.ones(60), "all cells are eq")]
)
def test_too_little_to_fit_is_not_separated(values: np.ndarray, why: str) -> None:
    """Few or equal cells give NaN, not an error, and say why."""
    fit = fit_mixture(values)
    assert why in fit.why
    assert np.isnan(fit.threshold)
    assert not fit.is_separated


def test_fit_does_not_depend_on_order_and_moves_with_the_values() -> None:
    """Shuffled values give the same fit; scaled and shifted ones a scaled and shifted threshold."""
    rng = np.random.default_rng(5)
    values = _draw(rng, 500, 500)
    fit = fit_mixture(values)
    assert fit == fit_mixture(rng.permutation(values))
    assert 3 * fit.threshold + 5 == pytest.approx(fit_mixture(3 * values + 5).threshold, rel=1e-6)


def test_fit_mixture_refuses_infinite_values() -> None:
    """The logarithm of a cell of mean 0 is refused."""
    with pytest.raises(BadInputError, match="mean 0"):
        fit_mixture(np.append(np.ones(60), -np.inf))


def test_fit_mixtures_fits_each_donor_and_marker_alone() -> None:
    """Each donor's threshold is that of its own cells, in grey levels; cells of mean 0 drop out."""
    rng = np.random.default_rng(6)
    apart, single = np.exp(_draw(rng, 400, 300, 5.0)), np.exp(rng.normal(3, 0.3, 300))
    cells = pd.DataFrame(
        {
            "donor": ["00000001"] * 701 + ["00000002"] * 300,
            "marker": "GFAP",
            "marker_mean": np.concatenate([apart, [0.0], single]),
        }
    )
    fits = fit_mixtures(cells)
    assert [701, 300] == list(fits["n_cells"])
    assert [True, False] == list(fits["is_separated"])
    expected = np.exp(fit_mixture(np.log(apart)).threshold)
    np.testing.assert_allclose(fits["marker_threshold"], [expected, np.nan])
