import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from somaflow.donors.agreement import (
    compare_rankings,
    intraclass_correlations,
    split_half_reliability,
)
from somaflow.donors.tile_draws import deal_halves
from somaflow.errors import BadInputError

# Six targets rated by four judges: Shrout & Fleiss 1979, table 2 (doi:10.1037/0033-2909.86.2.420).
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def _pair(n: int, n_features: int, seed: int) -> np.ndarray:
    """Two segmentations that share three quarters of their variance; the second counts more."""
    rng = np.random.default_rng(seed)
    true = rng.standard_normal((n, n_features)) * 3
    return np.stack([true + rng.standard_normal((n, n_features)) + shift for shift in (0, 2)])


def test_icc_reproduces_shrout_and_fleiss() -> None:
    """ICC(2,1) = .29 [.02, .76] and ICC(3,1) = .71 [.34, .95], as the paper and R's psych say."""
    row = intraclass_correlations(SHROUT_FLEISS.T[:, :, None], ["x"]).iloc[0]

    assert 6 == row["n"]
    assert [0.29, 0.02, 0.76] == row[["icc2", "icc2_low", "icc2_high"]].round(2).tolist()
    assert [0.71, 0.34, 0.95] == row[["icc3", "icc3_low", "icc3_high"]].round(2).tolist()


def test_icc_equals_an_anova_of_statsmodels() -> None:
    """From the mean squares of a two-way ANOVA both coefficients come out the same, to 1e-12."""
    ratings = _pair(20, 3, seed=1) + 1e5
    table = intraclass_correlations(ratings, ["a", "b", "c"])

    for feature in range(3):
        value = ratings[:, :, feature]
        segmentation, donor = np.indices(value.shape)
        long = pd.DataFrame({"y": value.ravel(), "s": segmentation.ravel(), "d": donor.ravel()})
        mean_sq = anova_lm(ols("y ~ C(d) + C(s)", long).fit())["sum_sq"] / [19, 1, 19]
        d, s, e = mean_sq
        expected = [(d - e) / (d + e + 2 / 20 * (s - e)), (d - e) / (d + e)]
        assert expected == pytest.approx(table.loc[feature, ["icc2", "icc3"]].tolist(), rel=1e-9)


def test_icc_leaves_out_donors_that_miss_a_value() -> None:
    """A feature with gaps is scored as if its incomplete donors were not there; n says so."""
    ratings = _pair(15, 2, seed=2)
    expected = intraclass_correlations(ratings[:, 3:, 1:], ["b"]).iloc[0]
    ratings[0, :2, 1] = np.nan
    ratings[1, 1:3, 1] = np.nan
    actual = intraclass_correlations(ratings, ["a", "b"])

    assert [15, 12] == actual["n"].tolist()
    assert expected[1:].tolist() == pytest.approx(actual.iloc[1, 1:].tolist(), rel=1e-12)


def test_icc_knows_consistency_from_agreement() -> None:
    """A constant shift leaves consistency at 1 and takes agreement; equal values have both."""
    true = np.arange(10.0)[:, None]
    shifted = intraclass_correlations(np.stack([true, true + 5]), ["x"]).iloc[0]
    equal = intraclass_correlations(np.stack([true, true]), ["x"]).iloc[0]

    assert 1.0 == pytest.approx(shifted["icc3"])
    assert shifted["icc2"] < 0.5
    assert [1.0] * 6 == equal[1:].tolist()[1:]


def test_icc_is_undefined_without_spread_or_donors() -> None:
    """Equal values everywhere and two donors give NaN, not a number."""
    flat = intraclass_correlations(np.ones((2, 9, 1)), ["x"]).iloc[0]
    few = intraclass_correlations(_pair(2, 1, 0), ["x"]).iloc[0]

    assert np.isnan(flat["icc2":].astype(float)).all()
    assert np.isnan(few["icc2":].astype(float)).all()


def _tiles(n_donors: int, n_tiles: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tiles with as much variance as donors, for one feature."""
    rng = np.random.default_rng(seed)
    donors = np.repeat(np.arange(n_donors), n_tiles)
    values = rng.standard_normal(n_donors)[donors] + rng.standard_normal(len(donors))
    return values[:, None], donors


def test_split_half_finds_the_reliability_of_donor_means() -> None:
    """Sixteen tiles as variable as donors make means of reliability 16/17, trimmed ones nearly."""
    row = split_half_reliability(*_tiles(400, 16, seed=5), ["x"], n_splits=40).iloc[0]

    assert 400 == row["n"]
    assert 16 / 17 == pytest.approx(row["pearson"], abs=0.015)
    assert row["spearman_low"] <= row["spearman"] <= row["spearman_high"]


def test_split_half_of_two_tiles_is_their_correlation_stepped_up() -> None:
    """With two tiles a donor a deal correlates one with the other, by scipy's own r and rho."""
    values, donors = _tiles(30, 2, seed=6)
    first = deal_halves(donors, 1, seed=9)[0]
    x, y = values[first, 0], values[~first, 0]
    row = split_half_reliability(values, donors, ["x"], n_splits=1, seed=9).iloc[0]

    for name, r in (("pearson", stats.pearsonr(x, y)[0]), ("spearman", stats.spearmanr(x, y)[0])):
        assert 2 * r / (1 + r) == pytest.approx(row[name])


def test_split_half_leaves_out_and_counts_donors_with_one_tile() -> None:
    """Donors with a single tile change nothing but n_left_out; a tile without value is none."""
    values, donors = _tiles(20, 6, seed=7)
    more = np.concatenate([values, [[100.0], [-100.0], [np.nan]]])
    codes = np.concatenate([donors, [20, 21, 21]])
    row = split_half_reliability(more, codes, ["x"], n_splits=100).iloc[0]
    alone = split_half_reliability(values, donors, ["x"], n_splits=100).iloc[0]

    assert (20, 2) == (row["n"], row["n_left_out"])
    assert alone["pearson"] == pytest.approx(row["pearson"], abs=0.03)


def test_split_half_of_noise_is_about_zero_and_finite() -> None:
    """Tiles that know nothing of their donor have reliability near 0, within [-1, 1]."""
    rng = np.random.default_rng(8)
    row = split_half_reliability(
        rng.standard_normal((400, 1)), np.repeat(np.arange(100), 4), ["x"]
    ).iloc[0]

    assert abs(row["pearson"]) < 0.3
    assert -1 <= row["pearson_low"] < row["pearson_high"] <= 1


def _list(rho: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"feature": f"f{place}", "trait": trait, "rho": value}
        for trait, values in rho.items()
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_rankings_compare_absolute_rho_trait_by_trait() -> None:
    """Kendall's tau is scipy's on |rho|; the top two share one of three features."""
    first = _list({"nft": [0.5, -0.4, 0.1, 0.0], "gpath": [0.1, 0.2, 0.3, 0.4]})
    second = _list({"nft": [-0.5, 0.1, 0.3, 0.05], "gpath": [0.1, 0.2, 0.3, 0.4]})
    table = compare_rankings(first, second, top=2).set_index("trait")

    expected = stats.kendalltau([0.5, 0.4, 0.1, 0.0], [0.5, 0.1, 0.3, 0.05]).statistic
    assert expected == pytest.approx(table.loc["nft", "kendall_tau"])
    assert 1 / 3 == pytest.approx(table.loc["nft", "jaccard_top"])
    assert [1.0, 1.0] == table.loc["gpath", ["kendall_tau", "jaccard_top"]].tolist()


def test_rankings_leave_out_what_is_undefined_in_one() -> None:
    """A feature without rho in one list counts in neither, and a short list has a smaller top."""
    table = compare_rankings(
        _list({"nft": [0.5, np.nan, 0.1]}), _list({"nft": [0.5, 0.9, 0.1]}), top=10
    )

    assert (2, 2, 1.0) == tuple(table.loc[0, ["n_features", "top", "jaccard_top"]])


def test_agreement_refuses_what_does_not_fit() -> None:
    """Other shapes, other features, a feature twice and an empty top are refused."""
    one = _list({"nft": [0.5, 0.1]})
    for call in (
        lambda: intraclass_correlations(np.ones((2, 5)), ["x"]),
        lambda: intraclass_correlations(np.ones((1, 5, 1)), ["x"]),
        lambda: split_half_reliability(np.ones((4, 2)), np.zeros(4, dtype=int), ["x"]),
        lambda: compare_rankings(one, one.assign(trait="gpath")),
        lambda: compare_rankings(one, pd.concat([one, one])),
        lambda: compare_rankings(one.drop(columns="rho"), one),
        lambda: compare_rankings(one, one, top=0),
    ):
        with pytest.raises(BadInputError, match="must"):
            call()
