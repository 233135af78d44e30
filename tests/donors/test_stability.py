from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from somaflow.donors import associate
from somaflow.donors.resampling import draw_counts
from somaflow.donors.stability import TileValues, compare_stability, stability_by_threshold
from somaflow.donors.tile_draws import draw_tiles
from somaflow.errors import BadInputError

N = 25
DONORS = [f"{place:08d}" for place in range(N)]
NAMES = ["a", "b", "c"]
TRAITS = ["nft", "braaksc"]


def _tables(seed: int = 0, noise: float = 0.5) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Baseline, fine-tuned and traits; the baseline with four times the noise in its values."""
    rng = np.random.default_rng(seed)
    true = rng.standard_normal((N, 3))
    tables = [
        pd.DataFrame(true + spread * rng.standard_normal((N, 3)), columns=NAMES).assign(
            donor=DONORS
        )
        for spread in (4 * noise, noise)
    ]
    traits = pd.DataFrame(
        {
            "donor": DONORS,
            "nft": true[:, 0] - true[:, 1] + 0.5 * rng.standard_normal(N),
            "braaksc": np.digitize(true[:, 2] + 0.5 * rng.standard_normal(N), [-1.0, 0.0, 1.0]),
        }
    )
    return tables[0], tables[1], traits


def _spearman(x: Any, y: Any) -> tuple[float, float]:
    result = stats.spearmanr(x, y)
    return float(result.statistic), float(result.pvalue)


def _found(p: np.ndarray) -> np.ndarray:
    return stats.false_discovery_control(p.ravel()).reshape(p.shape) < 0.05


def test_stability_has_the_rho_and_interval_of_associate() -> None:
    """On donors that both segmentations have, rho and its interval are associate's, to the bit."""
    baseline, fine_tuned, traits = _tables()
    traits.loc[4, "nft"] = np.nan
    for table in (baseline, fine_tuned):
        table.loc[[0, 7], "b"] = np.nan
    table = compare_stability(baseline, fine_tuned, traits, n_resamples=300, seed=5)

    for one, name in ((baseline, "baseline"), (fine_tuned, "fine_tuned")):
        expected = associate(one, traits, n_resamples=300, seed=5)
        assert expected["n"].tolist() == table["n"].tolist()
        for end in ("", "_low", "_high"):
            assert expected[f"rho{end}"].tolist() == table[f"rho_{name}{end}"].tolist()


def test_stability_over_donors_equals_a_plain_loop_of_scipy() -> None:
    """Variance, signs, discoveries and ratio are those of spearmanr on each resample of rows."""
    baseline, fine_tuned, traits = _tables()
    table = compare_stability(baseline, fine_tuned, traits, n_resamples=60, seed=3)

    for one, name in ((baseline, "baseline"), (fine_tuned, "fine_tuned")):
        rho, p = np.empty((60, 3, 2)), np.empty((60, 3, 2))
        for draw, counts in enumerate(draw_counts(N, 60, 3)):
            rows = np.repeat(np.arange(N), counts)
            for i, j in np.ndindex(3, 2):
                pair = one[NAMES[i]].iloc[rows], traits[TRAITS[j]].iloc[rows]
                rho[draw, i, j], p[draw, i, j] = _spearman(*pair)
        whole = table[f"rho_{name}"].to_numpy().reshape(3, 2)
        expected = {
            "variance": rho.var(axis=0, ddof=1),
            "sign_consistency": (np.sign(rho) == np.sign(whole)).mean(axis=0),
            "found_share": np.mean([_found(some) for some in p], axis=0),
        }
        for measure, values in expected.items():
            actual = table[f"donor_{measure}_{name}"].tolist()
            assert values.ravel().tolist() == pytest.approx(actual, rel=1e-9), measure
    ratio = table["donor_variance_fine_tuned"] / table["donor_variance_baseline"]
    assert ratio.tolist() == pytest.approx(table["donor_variance_ratio"].tolist())


def _tiles(seed: int = 1) -> tuple[list[TileValues], pd.DataFrame, pd.DataFrame]:
    """Tile values of a and b, and the donor tables that their trimmed means make."""
    rng = np.random.default_rng(seed)
    donors = rng.permutation(np.repeat(DONORS, rng.integers(5, 12, N))).astype(object)
    level = dict(zip(DONORS, rng.standard_normal(N), strict=True))
    base = np.array([level[donor] for donor in donors])[:, None]
    values = [base + spread * rng.standard_normal((len(donors), 2)) for spread in (3, 1)]
    tables = [
        pd.DataFrame(
            [[stats.trim_mean(one[donors == donor, i], 0.2) for i in (0, 1)] for donor in DONORS],
            columns=["a", "b"],
        ).assign(c=rng.standard_normal(N), donor=DONORS)
        for one in values
    ]
    return [TileValues(["a", "b"], donors, *values)], *tables


def test_stability_over_tiles_equals_a_plain_loop_of_scipy() -> None:
    """Redraws of 80 % of each donor's tiles, trim_mean and spearmanr give the same three."""
    tiles, baseline, fine_tuned = _tiles()
    traits = _tables()[2]
    names = pd.DataFrame({"column": ["a", "b"]})
    table = compare_stability(
        baseline, fine_tuned, traits, columns=names, tiles=tiles, n_resamples=20,
        n_tile_resamples=15, seed=4,
    )  # fmt: skip

    part = tiles[0]
    codes = np.array([DONORS.index(donor) for donor in part.donors])
    masks = draw_tiles(codes, 0.8, 15, 4)
    for values, name in ((part.baseline, "baseline"), (part.fine_tuned, "fine_tuned")):
        rho, p = np.empty((15, 2, 2)), np.empty((15, 2, 2))
        for draw, i, j in np.ndindex(15, 2, 2):
            means = [
                stats.trim_mean(values[masks[draw] & (codes == donor), i], 0.2)
                for donor in range(N)
            ]
            rho[draw, i, j], p[draw, i, j] = _spearman(means, traits[TRAITS[j]])
        signs = np.sign(table[f"rho_{name}"].to_numpy().reshape(2, 2))
        expected = {
            "variance": rho.var(axis=0, ddof=1),
            "sign_consistency": (np.sign(rho) == signs).mean(axis=0),
            "found_share": np.mean([_found(some) for some in p], axis=0),
        }
        for measure, wanted in expected.items():
            actual = table[f"tile_{measure}_{name}"].tolist()
            assert wanted.ravel().tolist() == pytest.approx(actual, rel=1e-9), measure


def test_columns_without_tile_values_say_nothing_of_tiles() -> None:
    """Of c no tiles are known: NaN; a tile of an unknown donor changes nothing."""
    tiles, baseline, fine_tuned = _tiles()
    traits = _tables()[2]
    part = tiles[0]
    more = TileValues(
        part.columns,
        np.append(part.donors, "stranger"),
        np.vstack([part.baseline, [9.0, 9.0]]),
        np.vstack([part.fine_tuned, [9.0, 9.0]]),
    )
    options: dict[str, Any] = {"n_resamples": 20, "n_tile_resamples": 8}
    table = compare_stability(baseline, fine_tuned, traits, tiles=tiles, **options)
    again = compare_stability(baseline, fine_tuned, traits, tiles=[more], **options)

    pd.testing.assert_frame_equal(table, again)
    of_tiles = table.filter(like="tile_")
    assert of_tiles[table["column"] == "c"].isna().all(axis=None)
    assert of_tiles[table["column"] != "c"].notna().all(axis=None)


def test_equal_segmentations_differ_in_nothing() -> None:
    """The same table twice has difference 0 and ratio 1, without width, and no verdict."""
    baseline, _, traits = _tables()
    table = compare_stability(baseline, baseline, traits, n_resamples=200)

    zeros = table.filter(like="abs_rho_difference").to_numpy()
    ones = table.filter(like="donor_variance_ratio").to_numpy()
    assert np.zeros((6, 3)).tolist() == zeros.tolist()
    assert np.ones((6, 3)).tolist() == ones.tolist()
    assert ["not conclusive"] * 12 == [*table["strength"], *table["verdict"]]


def test_less_noise_makes_stronger_and_more_stable() -> None:
    """Where only the baseline is noisy the verdicts say so, and turn with the order."""
    baseline, fine_tuned, traits = _tables(seed=2, noise=0.4)
    columns = pd.DataFrame({"column": ["c"]})
    options: dict[str, Any] = {"columns": columns, "trait_names": ["braaksc"], "seed": 1}
    better = compare_stability(baseline, fine_tuned, traits, **options).iloc[0]
    worse = compare_stability(fine_tuned, baseline, traits, **options).iloc[0]

    assert ("stronger", "more stable") == (better["strength"], better["verdict"])
    assert ("weaker", "less stable") == (worse["strength"], worse["verdict"])
    assert -worse["abs_rho_difference"] == pytest.approx(better["abs_rho_difference"])
    assert 1 / worse["donor_variance_ratio_low"] == pytest.approx(
        better["donor_variance_ratio_high"]
    )


def test_stability_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One column and one resample at a time give what all at once give."""
    tables = _tables()
    whole = compare_stability(*tables, primary=["a"], n_resamples=50)
    monkeypatch.setattr("somaflow.donors.pairs._BLOCK_ENTRIES", 1)
    monkeypatch.setattr("somaflow.donors.discoveries._BLOCK_ENTRIES", 1)

    pd.testing.assert_frame_equal(whole, compare_stability(*tables, primary=["a"], n_resamples=50))


def test_stability_does_not_depend_on_the_order_of_rows() -> None:
    """Tables in another order of donors give the same."""
    baseline, fine_tuned, traits = _tables()
    whole = compare_stability(baseline, fine_tuned, traits, n_resamples=50)
    turned = compare_stability(
        baseline[::-1], fine_tuned.sample(frac=1, random_state=1), traits[::-1], n_resamples=50
    )

    pd.testing.assert_frame_equal(whole, turned)


def test_donors_of_one_segmentation_alone_are_left_out_of_both() -> None:
    """A value that one segmentation lacks counts in neither; n says so."""
    baseline, fine_tuned, traits = _tables()
    gap = fine_tuned.copy()
    gap.loc[3, "a"] = np.nan
    table = compare_stability(baseline.drop(index=8), gap, traits, n_resamples=50)
    fewer = [table.drop(index=[3, 8]) for table in (baseline, fine_tuned)]
    expected = compare_stability(*fewer, traits, n_resamples=50)

    assert [23, 23, 24, 24, 24, 24] == table["n"].tolist()
    pd.testing.assert_frame_equal(
        expected.iloc[:2].filter(like="rho"), table.iloc[:2].filter(like="rho")
    )


def test_primary_columns_are_a_family_of_their_own() -> None:
    """Alone in its family, a column is found more often than among exploratory ones."""
    baseline, fine_tuned, traits = _tables(noise=1.0)
    alone = compare_stability(baseline, fine_tuned, traits, primary=["c"], n_resamples=300)
    among = compare_stability(baseline, fine_tuned, traits, n_resamples=300)

    assert ["exploratory"] * 4 + ["primary"] * 2 == alone["family"].tolist()
    assert {"all"} == set(among["family"])
    last = "donor_found_share_baseline"
    assert alone[last].iloc[5] != among[last].iloc[5]


def test_covariates_make_rho_partial() -> None:
    """With a covariate rho is associate's partial one; donors without it are left out."""
    baseline, fine_tuned, traits = _tables()
    traits = traits.assign(pmi=np.random.default_rng(1).standard_normal(N))
    traits.loc[2, "pmi"] = np.nan
    table = compare_stability(baseline, fine_tuned, traits, covariates=["pmi"], n_resamples=40)
    expected = associate(baseline, traits, covariates=["pmi"], n_resamples=40)

    assert expected["partial_n"].tolist() == table["n"].tolist()
    assert expected["partial_rho"].tolist() == table["rho_baseline"].tolist()
    assert expected["partial_rho_low"].tolist() == table["rho_baseline_low"].tolist()


def test_too_few_donors_are_not_estimated() -> None:
    """Three donors give a row that says n and nothing else."""
    table = compare_stability(*[table.head(3) for table in _tables()], n_resamples=20)

    assert {3} == set(table["n"])
    assert {"not estimated"} == {*table["strength"], *table["verdict"]}
    assert table.filter(like="rho").isna().all(axis=None)
    assert table.filter(like="found_share").isna().all(axis=None)


def test_thresholds_come_in_their_order() -> None:
    """Percentiles ascend, then otsu and mixture; what needs no threshold is left out."""
    baseline, fine_tuned, traits = _tables()
    phenotypes = ["p90", "mixture", "p60", "any", "otsu", "p75"]
    base, fine = (
        pd.DataFrame({name: table["a"] + i for i, name in enumerate(phenotypes)}).assign(
            donor=DONORS
        )
        for table in (baseline, fine_tuned)
    )
    about = pd.DataFrame({"column": phenotypes, "phenotype": phenotypes}).assign(
        marker="NeuN", region="all", feature="positive_fraction"
    )
    table = compare_stability(base, fine, traits, columns=about, n_resamples=20)
    long = stability_by_threshold(table)

    one = long[(long["measure"] == "rho") & (long["segmentation"] == "baseline")]
    one = one[one["trait"] == "nft"]
    assert ["p60", "p75", "p90", "otsu", "mixture"] == one["phenotype"].tolist()
    p75 = table[(table["phenotype"] == "p75") & (table["trait"] == "nft")].iloc[0]
    expected = p75[["rho_baseline", "rho_baseline_low", "rho_baseline_high"]].tolist()
    assert expected == one.iloc[1][["value", "low", "high"]].tolist()
    assert {"baseline", "fine_tuned", "difference"} == set(long["segmentation"])
    assert 5 * 2 * (7 * 2 + 3) == len(long)


def test_stability_refuses_tables_that_do_not_fit() -> None:
    """Missing columns, unknown primaries, tiles that do not fit and no phenotype are refused."""
    baseline, fine_tuned, traits = _tables()
    tiles = TileValues(["a"], np.array(["x"], dtype=object), np.ones((1, 1)), np.ones((2, 1)))
    other = TileValues(["z"], np.array(["x"], dtype=object), np.ones((1, 1)), np.ones((1, 1)))
    options: dict[str, Any] = {"n_resamples": 5, "n_tile_resamples": 2}
    for call in (
        lambda: compare_stability(baseline, fine_tuned.drop(columns="a"), traits),
        lambda: compare_stability(baseline, fine_tuned, traits, columns=pd.DataFrame({"x": [1]})),
        lambda: compare_stability(baseline, fine_tuned, traits, primary=["z"], **options),
        lambda: compare_stability(baseline, fine_tuned, traits, tiles=[tiles], **options),
        lambda: compare_stability(baseline, fine_tuned, traits, tiles=[other], **options),
        lambda: stability_by_threshold(compare_stability(baseline, fine_tuned, traits, **options)),
    ):
        with pytest.raises(BadInputError, match=r"must|not found"):
            call()
