import numpy as np
import pytest
from scipy import stats

from somaflow.donors.power import (
    attenuate,
    describe_power,
    find_detectable_rho,
    find_power,
    find_smallest_significant_rho,
)
from somaflow.errors import BadInputError


def _p_value(rho: float, degrees: int) -> float:
    t = rho * np.sqrt(degrees / (1 - rho**2))
    return float(2 * stats.t.sf(abs(t), degrees))


@pytest.mark.parametrize(
    ("n", "alpha", "n_covariates"), [(69, 0.05, 0), (69, 0.001, 4), (8, 0.05, 1)]
)
def test_smallest_significant_rho_has_p_equal_to_alpha(
    n: int, alpha: float, n_covariates: int
) -> None:
    """Put back into the t approximation, the rho gives the level it was asked for."""
    rho = find_smallest_significant_rho(n, alpha, n_covariates)

    assert alpha == pytest.approx(_p_value(rho, n - 2 - n_covariates), rel=1e-9)


def test_smallest_significant_rho_of_the_study_is_a_quarter() -> None:
    """With 69 donors a rho of .24 is p = .05, as the field says."""
    assert 0.24 == round(find_smallest_significant_rho(69), 2)


def test_power_without_an_association_is_the_level() -> None:
    """At rho 0 the share of significant results is alpha, within the approximation."""
    assert 0.05 == pytest.approx(float(find_power(0.0, 69)), abs=0.002)


@pytest.mark.parametrize("rho", [0.2, 0.35, -0.5])
def test_power_agrees_with_simulated_donors(rho: float) -> None:
    """4000 drawn studies of 69 donors find the rho as often as the formula says, within 3 %."""
    rng = np.random.default_rng(1)
    r = 2 * np.sin(np.pi * rho / 6)
    x = rng.standard_normal((4000, 69))
    y = r * x + np.sqrt(1 - r * r) * rng.standard_normal((4000, 69))
    ranks_x, ranks_y = stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)
    found = stats.pearsonr(ranks_x, ranks_y, axis=1).pvalue < 0.05

    assert found.mean() == pytest.approx(float(find_power(rho, 69)), abs=0.03)


def test_power_keeps_the_shape_and_grows_with_rho() -> None:
    """An array gives an array; more association is found more often, of either sign alike."""
    power = find_power([[0.1, 0.3, 0.6], [-0.1, -0.3, -0.6]], 69)

    assert (2, 3) == power.shape
    assert (np.diff(power, axis=1) > 0).all()
    assert power[0].tolist() == pytest.approx(power[1].tolist())


def test_detectable_rho_has_the_power_asked_for() -> None:
    """Put back into the power, the smallest rho gives 80 %, or 90 % if asked."""
    for power in (0.8, 0.9):
        rho = find_detectable_rho(69, power)
        assert power == pytest.approx(float(find_power(rho, 69)), abs=1e-9)


def test_attenuate_shrinks_by_the_root_of_the_reliability() -> None:
    """A reliability of .25 halves the rho; a perfect one leaves it."""
    assert [0.3, 0.6, 0.0] == attenuate(0.6, [0.25, 1.0, 0.0]).tolist()


def test_attenuate_predicts_the_rho_of_noisy_values() -> None:
    """In a large sample, noise that makes a quarter of the variance costs a factor sqrt(.75)."""
    rng = np.random.default_rng(2)
    x, e, noise = rng.standard_normal((3, 400_000))
    y = 0.6 * x + 0.8 * e
    seen = x * np.sqrt(0.75) + noise * 0.5

    expected = float(attenuate(np.corrcoef(x, y)[0, 1], 0.75))
    assert expected == pytest.approx(np.corrcoef(seen, y)[0, 1], abs=0.005)


def test_description_says_the_numbers_of_the_study() -> None:
    """For 69 donors and 40 tests it names n, the two levels and their rho."""
    text = describe_power(69, n_tests=40)

    assert "With 69 donors, |rho| of 0.24 or more is p < 0.05" in text
    assert "Among 40 tests" in text and "p < 0.0013" in text
    assert f"{find_detectable_rho(69, 0.8, 0.05 / 40):.2f} is found with 80 % power" in text


def test_description_of_too_few_donors_promises_nothing() -> None:
    """Six donors and a thousand tests find no rho, and the sentence says so."""
    assert "no true |rho| is found with 80 % power" in describe_power(6, n_tests=1000)


def test_power_refuses_what_has_no_answer() -> None:
    """Too few donors, a rho of 1, a level of 0, a reliability below 0 and no test are refused."""
    for call in (
        lambda: find_smallest_significant_rho(4),
        lambda: find_smallest_significant_rho(8, n_covariates=4),
        lambda: find_power([0.2, 1.0], 69),
        lambda: find_power(np.nan, 69),
        lambda: find_power(0.2, 69, alpha=0.0),
        lambda: find_detectable_rho(69, power=0.01),
        lambda: attenuate(0.3, -0.1),
        lambda: describe_power(69, n_tests=0),
    ):
        with pytest.raises(BadInputError, match="got"):
            call()
