import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

from somaflow.donors.ranks import rho_of_counts, spearman
from somaflow.errors import BadInputError

Floats = NDArray[np.float64]
N_DONORS = 24


def draw_columns(seed: int = 0, n_donors: int = N_DONORS) -> tuple[Floats, Floats, Floats]:
    """Three features, two traits and three covariates, with and without ties."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal(n_donors)
    noise = rng.standard_normal((6, n_donors))
    features = np.stack([latent + noise[0], np.round(noise[1], 1), np.round(latent + noise[2])])
    traits = np.stack([np.floor(latent + noise[3]), noise[4] - latent])
    covariates = np.stack([latent + 2 * noise[5], rng.integers(0, 2, n_donors), np.round(noise[5])])
    return features, traits, covariates


def partial_rho(x: Floats, y: Floats, covariates: Floats) -> float:
    """Ranks, least squares, Pearson's r of what is left."""
    design = np.column_stack([np.ones(len(x)), *map(stats.rankdata, covariates)])
    ranks = np.column_stack([stats.rankdata(x), stats.rankdata(y)])
    left = ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
    return float(np.corrcoef(left.T)[0, 1])


def test_spearman_equals_scipy() -> None:
    """Every feature and trait, ties or none, has scipy's rho."""
    features, traits, _ = draw_columns()

    expected = [[stats.spearmanr(x, y).statistic for y in traits] for x in features]
    np.testing.assert_allclose(spearman(features, traits), expected, rtol=0, atol=1e-14)


def test_spearman_partial_equals_least_squares_on_ranks() -> None:
    """With covariates, rho is Pearson's r of the residuals of ranks on ranks."""
    features, traits, covariates = draw_columns()

    expected = [[partial_rho(x, y, covariates) for y in traits] for x in features]
    np.testing.assert_allclose(spearman(features, traits, covariates), expected, rtol=0, atol=1e-13)


def test_rho_of_counts_equals_scipy_on_repeated_donors() -> None:
    """Counts mean donors that are there 0, 1 or more times, plain and partial."""
    features, traits, covariates = draw_columns()
    counts = np.random.default_rng(1).integers(0, 4, size=(20, N_DONORS))

    plain = rho_of_counts(features, traits, None, counts)
    partial = rho_of_counts(features, traits, covariates, counts)
    for draw, feature, trait in itertools.product(range(20), range(3), range(2)):
        index = np.repeat(np.arange(N_DONORS), counts[draw])
        x, y = features[feature][index], traits[trait][index]
        cell = (draw, feature, trait)
        assert stats.spearmanr(x, y).statistic == pytest.approx(plain[cell], abs=1e-12)
        assert partial_rho(x, y, covariates[:, index]) == pytest.approx(partial[cell], abs=1e-12)


def test_rho_of_counts_of_all_ones_is_spearman_to_the_bit() -> None:
    """A resample that equals the data ties with the data, as the bias correction counts it."""
    features, traits, covariates = draw_columns()
    ones = np.ones((3, N_DONORS))

    for taken_out in (None, covariates):
        expected = spearman(features, traits, taken_out)
        for actual in rho_of_counts(features, traits, taken_out, ones):
            np.testing.assert_array_equal(expected, actual)


def test_rho_of_counts_does_not_depend_on_threads() -> None:
    """One thread and three give the same bits, more resamples than one thread takes."""
    code = (
        "import numpy as np, hashlib; from somaflow.donors.resampling import resample_rho;"
        "rng = np.random.default_rng(0); x, y = rng.random((4, 69)), rng.random((3, 69));"
        "print(hashlib.md5(resample_rho(x, y, None, 1001).tobytes()).hexdigest())"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_NUM_THREADS": n_threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n_threads in ("1", "3")
    ]

    assert digests[0] == digests[1]


def test_constant_columns_have_no_rho() -> None:
    """A constant feature or trait gives NaN and leaves the others alone."""
    features, traits, covariates = draw_columns()
    features[1], traits[0] = 3.0, 7.0

    for taken_out in (None, covariates):
        defined = np.isfinite(spearman(features, traits, taken_out))
        np.testing.assert_array_equal([[False, True], [False, False], [False, True]], defined)


def test_columns_constant_only_in_the_sample_have_no_rho() -> None:
    """What the sample happens to make constant is NaN in that sample alone."""
    feature, trait = np.array([[0.0, 0, 0, 0, 1]]), np.arange(5.0)[None]
    counts = np.array([[2, 1, 1, 1, 0], [1, 1, 1, 1, 1]])

    rho = rho_of_counts(feature, trait, None, counts)
    np.testing.assert_array_equal([True, False], np.isnan(rho[:, 0, 0]))


def test_features_explained_by_covariates_have_no_rho() -> None:
    """A feature that is a monotone function of a covariate has nothing left, not noise."""
    features, traits, covariates = draw_columns()
    features[0] = np.exp(covariates[0])

    assert np.isnan(spearman(features, traits, covariates)[0]).all()


@pytest.mark.parametrize("extra", ["constant", "reversed", "sum"])
def test_redundant_covariates_change_nothing(extra: str) -> None:
    """A covariate that adds nothing to the others leaves the partial rho as it was."""
    features, traits, _ = draw_columns()
    # Ranks of this a, b and a + b add up: b comes in steps wider than all of a.
    a, b = np.tile([0.0, 1, 2], N_DONORS // 3), np.repeat([0.0, 3], N_DONORS // 2)
    redundant = {"constant": np.full(N_DONORS, 2.0), "reversed": 5 - a, "sum": a + b}[extra]

    expected = spearman(features, traits, [a, b])
    actual = spearman(features, traits, [a, redundant, b])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


columns = hnp.arrays(np.float64, (2, 12), elements=st.integers(-4, 4).map(float))


@given(columns)
def test_spearman_is_unchanged_by_monotone_transforms(pair: Floats) -> None:
    """Only ranks matter."""
    x, y = pair[:1], pair[1:]

    np.testing.assert_array_equal(spearman(x, y), spearman(np.exp(x), y**3 - 7))


@given(columns)
def test_spearman_is_unchanged_by_swapping_feature_and_trait(pair: Floats) -> None:
    """Neither of the two is special."""
    x, y = pair[:1], pair[1:]

    np.testing.assert_array_equal(spearman(x, y), spearman(y, x))


@given(columns)
def test_spearman_changes_sign_with_a_column(pair: Floats) -> None:
    """Reversing a trait reverses rho and nothing else."""
    x, y = pair[:1], pair[1:]

    np.testing.assert_array_equal(spearman(x, y), -spearman(x, -y))


@given(columns, st.permutations(range(12)))
def test_spearman_does_not_depend_on_the_order_of_donors(pair: Floats, order: list[int]) -> None:
    """Donors may come in any order, the same in both columns."""
    x, y = pair[:1], pair[1:]

    np.testing.assert_array_equal(spearman(x, y), spearman(x[:, order], y[:, order]))


@pytest.mark.parametrize(
    ("features", "traits", "counts", "message"),
    [
        ([1.0, 2.0], [[1.0, 2.0]], [[1, 1]], r"features must be .*shape \(2,\)"),
        ([[1.0, np.nan]], [[1.0, 2.0]], [[1, 1]], "features must be .*missing"),
        ([[1.0, 2.0]], [[1.0, np.inf]], [[1, 1]], "traits must be .*infinite"),
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]], [[1, 1]], "same donors, found 2, 3, 2 columns"),
        ([[1.0, 2.0]], [[1.0, 2.0]], [[1, -1]], "counts must be whole .*found -1"),
        ([[1.0, 2.0]], [[1.0, 2.0]], [[1, 0.5]], "counts must be whole .*found 0.5"),
    ],
)
def test_bad_columns_are_refused(
    features: object, traits: object, counts: object, message: str
) -> None:
    """Missing values, unequal lengths and odd counts are said, not computed with."""
    with pytest.raises(BadInputError, match=message):
        rho_of_counts(features, traits, None, counts)  # type: ignore[arg-type]
