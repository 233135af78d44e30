import numpy as np
import pytest
from scipy import stats

from somaflow.donors.resampling import draw_counts, leave_one_out, resample_rho
from somaflow.errors import BadInputError


def test_draw_counts_draw_as_many_donors_as_there_are() -> None:
    """Every resample has n donors in all."""
    counts = draw_counts(7, 50, seed=3)

    assert (50, 7) == counts.shape
    np.testing.assert_array_equal(np.full(50, 7), counts.sum(axis=1))


def test_draw_counts_depend_on_the_arguments_alone() -> None:
    """Equal arguments pair two analyses; another seed does not."""
    first = draw_counts(69, 100, seed=0)

    np.testing.assert_array_equal(first, draw_counts(69, 100, seed=0))
    assert not np.array_equal(first, draw_counts(69, 100, seed=1))


def test_draw_counts_treat_donors_alike() -> None:
    """A donor's count is binomial (n, 1 / n): mean 1, and absent in (1 - 1 / n)^n of resamples."""
    counts = draw_counts(10, 20_000, seed=5)

    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose((counts == 0).mean(axis=0), 0.9**10, atol=0.015)


@pytest.mark.parametrize(("n_donors", "n_resamples"), [(0, 10), (5, 0), (5, 2.5)])
def test_draw_counts_refuse_nothing_to_draw(n_donors: int, n_resamples: int) -> None:
    """No donors, no resamples or half a resample is an error."""
    with pytest.raises(BadInputError, match="must be a whole number >= 1"):
        draw_counts(n_donors, n_resamples, seed=0)


def test_resample_rho_is_rho_of_the_drawn_donors() -> None:
    """A resample is scipy's rho of the donors that `draw_counts` drew."""
    rng = np.random.default_rng(2)
    features, traits = rng.integers(0, 9, (2, 15)), rng.standard_normal((1, 15))
    counts = draw_counts(15, 30, seed=4)

    rho = resample_rho(features, traits, n_resamples=30, seed=4)
    for draw in range(30):
        index = np.repeat(np.arange(15), counts[draw])
        expected = [stats.spearmanr(x[index], traits[0][index]).statistic for x in features]
        np.testing.assert_allclose(rho[draw, :, 0], expected, rtol=0, atol=1e-12)


def test_resample_rho_of_a_column_does_not_depend_on_the_others() -> None:
    """Features computed together or one by one meet the same resamples, to the bit."""
    rng = np.random.default_rng(2)
    features, traits, covariates = (rng.standard_normal((k, 20)) for k in (5, 2, 2))

    together = resample_rho(features, traits, covariates, 40)
    alone = [resample_rho(features[[k]], traits, covariates, 40) for k in range(5)]
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))


def test_leave_one_out_leaves_out_each_donor_once() -> None:
    """Three donors, three pairs."""
    np.testing.assert_array_equal([[0, 1, 1], [1, 0, 1], [1, 1, 0]], leave_one_out(3))
