import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.miscmodels.ordinal_model import OrderedModel

from somaflow.donors import fits
from somaflow.donors.fits import fit_models, fit_tiles
from somaflow.errors import BadInputError

COLUMNS = ["feature", "trait", "model", "n", "estimate", "low", "high", "p", "q", "status"]
NUMBERS = ["estimate", "low", "high", "p", "q"]
N_DONORS = 60
TILES_A_DONOR = 6


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A feature tied to a continuous and a graded trait, one tied to nothing, two covariates."""
    rng = np.random.default_rng(3)
    latent = rng.standard_normal(N_DONORS)
    donors = [f"{index:08d}" for index in range(N_DONORS)]
    donor_table = pd.DataFrame({"donor": donors, "density": latent + rng.standard_normal(N_DONORS)})
    donor_table["size"] = 5 + rng.standard_normal(N_DONORS)
    grades = np.clip(np.round(latent + rng.standard_normal(N_DONORS)), -1, 2)
    trait_table = pd.DataFrame({"donor": donors, "gpath": 3 * latent, "braaksc": grades})
    trait_table["age_death"] = 85 + 5 * rng.standard_normal(N_DONORS)
    trait_table["msex"] = rng.integers(0, 2, N_DONORS)
    trait_table.loc[7, "gpath"] = np.nan
    return donor_table, trait_table


@pytest.fixture
def tiles(tables: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    """Six tiles a donor around its density, fewer of the first donors."""
    table = tables[0].loc[np.repeat(np.arange(N_DONORS), TILES_A_DONOR)]
    noise = np.random.default_rng(4).standard_normal(len(table))
    return table.assign(density=table.density + noise).iloc[4:].reset_index(drop=True)


Tables = tuple[pd.DataFrame, pd.DataFrame]


def _scale(values: pd.Series) -> pd.Series:
    return (values - values.mean()) / values.std()


def test_ols_equals_statsmodels_by_formula(tables: Tables) -> None:
    """The standardised slope, its HC3 interval and p are those of a fit written by hand."""
    (row,) = fit_models(
        *tables, ["density"], ["gpath"], covariates=["age_death", "msex"]
    ).itertuples()

    whole = tables[0].merge(tables[1], on="donor").dropna()
    whole = whole.assign(density=_scale(whole.density), gpath=_scale(whole.gpath))
    fit = smf.ols("density ~ gpath + age_death + msex", whole).fit(cov_type="HC3", use_t=True)
    expected = [fit.params["gpath"], *fit.conf_int().loc["gpath"], fit.pvalues["gpath"]]
    np.testing.assert_allclose([row.estimate, row.low, row.high, row.p], expected, rtol=1e-8)
    assert (59, "") == (row.n, row.status)


def test_ordinal_equals_statsmodels_probabilities(tables: Tables) -> None:
    """Log odds an SD, their interval and p are those of a fit on unscaled columns."""
    table = fit_models(*tables, ["density"], ["braaksc"], {"braaksc": "ordinal"}, ["age_death"])
    row = table.iloc[1]

    whole = tables[0].merge(tables[1], on="donor")
    design = whole[["density", "age_death"]].assign(age_death=whole.age_death - 85)
    grades = pd.Series(pd.Categorical(whole.braaksc, ordered=True))
    fit = OrderedModel(grades, design, distr="logit").fit(method="bfgs", disp=False)
    sd = whole.density.std()
    expected = [sd * fit.params["density"], *(sd * fit.conf_int().loc["density"])]
    assert "ordinal" == row.model
    np.testing.assert_allclose(row[["estimate", "low", "high"]].astype(float), expected, rtol=1e-3)
    assert fit.pvalues["density"] == pytest.approx(row.p, rel=1e-2)


def test_gee_equals_statsmodels_by_formula(tables: Tables, tiles: pd.DataFrame) -> None:
    """Exchangeable tiles with robust errors, the trait scaled over donors and not over tiles."""
    (row,) = fit_tiles(tiles, tables[1], ["density"], ["braaksc"], ["msex"]).itertuples()

    traits = tables[1].assign(braaksc=_scale(tables[1].braaksc))
    whole = tiles.merge(traits, on="donor").assign(density=lambda table: _scale(table.density))
    model = smf.gee("density ~ braaksc + msex", "donor", whole, cov_struct=_exchangeable())
    fit = model.fit()
    expected = [fit.params["braaksc"], *fit.conf_int().loc["braaksc"], fit.pvalues["braaksc"]]
    np.testing.assert_allclose([row.estimate, row.low, row.high, row.p], expected, rtol=1e-5)
    assert (60, 356, "gee", "") == (row.n, row.n_tiles, row.model, row.status)


def _exchangeable() -> object:
    from statsmodels.genmod.cov_struct import Exchangeable

    return Exchangeable()


def test_gee_with_copied_tiles_is_as_sure_as_with_one(tables: Tables) -> None:
    """Ten copies of a donor's tile say no more than one: the donor is the unit."""
    copied = tables[0].loc[np.repeat(np.arange(N_DONORS), 10)]

    single = fit_tiles(tables[0], tables[1], ["density"], ["braaksc"]).iloc[0]
    many = fit_tiles(copied, tables[1], ["density"], ["braaksc"]).iloc[0]
    width = single.high - single.low
    assert width == pytest.approx(many.high - many.low, rel=0.02)
    assert 600 == many.n_tiles


def test_fit_models_chooses_models_by_kind(tables: Tables) -> None:
    """An ordinal trait has both models, a continuous one ols alone; q is within a model."""
    table = fit_models(*tables, traits=["gpath", "braaksc"], kinds={"braaksc": "ordinal"})

    assert COLUMNS == list(table)
    expected = [("gpath", "ols"), ("braaksc", "ols"), ("braaksc", "ordinal")] * 2
    assert expected == list(table[["trait", "model"]].itertuples(index=False, name=None))
    for _, model in table.groupby("model"):
        np.testing.assert_allclose(model.q, stats.false_discovery_control(model.p), rtol=1e-12)


def test_fit_models_takes_the_default_columns(tables: Tables) -> None:
    """Columns of numbers, without the covariates."""
    table = fit_models(*tables, covariates=["msex"])

    assert {"density", "size"} == set(table.feature)
    assert {"gpath", "braaksc", "age_death"} == set(table.trait)


@pytest.mark.parametrize(
    ("values", "kind", "status"),
    [
        ([1.0, 2.0, 3.0] + [np.nan] * 57, "continuous", "3 donors, 4 needed"),
        ([2.0] * 60, "continuous", "trait is constant"),
        ([np.nan] * 60, "continuous", "trait has no value"),
        (["x"] * 60, "continuous", "trait is text, not numbers"),
        ([33.0, 34.0] * 30, "category", "trait is a category, not a scale"),
        (
            [1.0] + [0.0] * 59,
            "binary",
            "one donor alone sets a coefficient, so it has no HC3 error",
        ),
    ],
)
def test_ols_says_why_it_has_no_numbers(
    tables: Tables, values: list[object], kind: str, status: str
) -> None:
    """The row stays, the other rows have their numbers, and no warning escapes."""
    trait_table = tables[1].assign(bad=values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = fit_models(tables[0], trait_table, ["density"], ["bad", "gpath"], {"bad": kind})

    bad, good = table.iloc[0], table.iloc[1]
    assert status == bad.status
    assert bad[NUMBERS].isna().all()
    assert "" == good.status
    assert good.p < 0.001


@pytest.mark.parametrize(
    ("grade", "status"),
    [
        (lambda density: density > 0, "2 grades, 3 needed"),
        (np.floor, "the feature separates the grades, so the odds have no end"),
    ],
)
def test_ordinal_says_why_it_has_no_numbers(
    tables: Tables, grade: Callable[[pd.Series], pd.Series], status: str
) -> None:
    """Two grades, or grades without overlap, are a row that says so."""
    trait_table = tables[1].assign(bad=grade(tables[0].density).astype(float))
    table = fit_models(tables[0], trait_table, ["density"], ["bad"], {"bad": "ordinal"})

    assert ["", status] == list(table.status)
    assert table.iloc[1][NUMBERS].isna().all()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (np.linalg.LinAlgError("Singular matrix\nmore"), "the fit failed: Singular matrix"),
        (ZeroDivisionError(), "the fit failed: ZeroDivisionError"),
        (UserWarning("no convergence"), "the fit is in doubt: no convergence"),
        (None, "the fit has no standard error"),
    ],
)
def test_fits_turn_errors_and_warnings_into_words(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, error: Exception | None, status: str
) -> None:
    """Whatever a library does inside a fit, the next pair is fitted all the same."""
    whole = fits._MODELS["ols"]
    calls = iter([True, False])

    def fail_once(sample: fits._Sample) -> fits._Fit:
        if not next(calls):
            return whole(sample)
        if isinstance(error, UserWarning):
            warnings.warn(error, stacklevel=1)
        elif error is not None:
            raise error
        return fits._Fit(0.1, np.nan, np.nan, 0.5)

    monkeypatch.setitem(fits._MODELS, "ols", fail_once)
    table = fit_models(*tables, ["density", "size"], ["gpath"])
    assert [status, ""] == list(table.status)
    assert table.iloc[0][NUMBERS].isna().all()


def test_ordinal_that_does_not_converge_says_so(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that is cut off after two steps is a row without numbers."""
    search = OrderedModel.fit
    monkeypatch.setattr(
        OrderedModel, "fit", lambda self, **options: search(self, **options | {"maxiter": 2})
    )

    table = fit_models(*tables, ["density"], ["braaksc"], {"braaksc": "ordinal"})
    assert "onverge" in table.iloc[1].status
    assert table.iloc[1][NUMBERS].isna().all()


def test_fits_leave_out_redundant_covariates(tables: Tables, tiles: pd.DataFrame) -> None:
    """What adds nothing is named and changes nothing, for donors and tiles."""
    trait_table = tables[1].assign(months=12 * tables[1].age_death, batch=1)
    note = "months repeats other covariates, left out; batch is constant, left out"
    covariates = ["age_death", "months", "batch"]

    for fit, table in ((fit_models, tables[0]), (fit_tiles, tiles)):
        pair = {"features": ["density"], "traits": ["gpath"]}
        expected = fit(table, trait_table, **pair, covariates=["age_death"])
        actual = fit(table, trait_table, **pair, covariates=covariates)
        assert [note] == list(actual.status)
        np.testing.assert_allclose(actual.estimate, expected.estimate, rtol=1e-9)


def test_fits_need_donors_not_tiles(tables: Tables, tiles: pd.DataFrame) -> None:
    """Eighteen tiles of three donors are three."""
    few = tiles[tiles.donor.isin(["00000020", "00000021", "00000022"])]
    row = fit_tiles(few, tables[1], ["density"], ["gpath"]).iloc[0]

    assert (3, 18, "3 donors, 4 needed") == (row.n, row.n_tiles, row.status)


def test_fits_say_that_a_trait_is_a_covariate(tables: Tables) -> None:
    """Nothing of the trait is left beside itself."""
    row = fit_models(*tables, ["density"], ["msex"], covariates=["msex"]).iloc[0]

    assert "trait is explained by the covariates" == row.status


def test_fit_models_refuses_unknown_kinds(tables: Tables) -> None:
    """A kind that is misspelt is said with its trait."""
    with pytest.raises(BadInputError, match=r"kinds must be .* found gpath: continous"):
        fit_models(*tables, kinds={"gpath": "continous"})


def test_fit_tiles_refuses_traits_with_a_donor_twice(tables: Tables, tiles: pd.DataFrame) -> None:
    """Tiles may share a donor, traits may not."""
    with pytest.raises(BadInputError, match="trait_table must have a row a donor"):
        fit_tiles(tiles, pd.concat([tables[1], tables[1]]))


def test_fit_tiles_refuses_tables_without_a_donor_in_common(tables: Tables) -> None:
    """Ids of both sides are quoted."""
    with pytest.raises(BadInputError, match=r"tile_table and trait_table .* found a in the one"):
        fit_tiles(pd.DataFrame({"donor": ["a", "a"], "x": [1.0, 2.0]}), tables[1])


def test_fits_of_no_features_are_an_empty_table(tables: Tables) -> None:
    """Nothing asked, a table with the same columns."""
    assert COLUMNS == list(fit_models(*tables, features=[]))
    assert 0 == len(fit_tiles(*tables, features=[]))
