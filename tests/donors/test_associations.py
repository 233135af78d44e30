import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from somaflow.donors import associate
from somaflow.donors.associations import associate as same_associate
from somaflow.donors.ranks import spearman
from somaflow.errors import BadInputError

PLAIN = ["feature", "trait", "n", "rho", "rho_low", "rho_high", "p", "q", "status"]
PARTIAL = [f"partial_{name}" for name in PLAIN[2:]]
N_DONORS = 40


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two features, a continuous and a graded trait, two covariates; a few values missing."""
    rng = np.random.default_rng(7)
    latent = rng.standard_normal(N_DONORS)
    donors = [f"{index:08d}" for index in range(N_DONORS)]
    features = {
        "density": latent + rng.standard_normal(N_DONORS),
        "size": np.round(rng.standard_normal(N_DONORS), 1),
    }
    traits = {
        "plaq_n": np.exp(latent),
        "braaksc": np.clip(np.round(latent + rng.standard_normal(N_DONORS)), -2, 2),
        "age_death": latent + 2 * rng.standard_normal(N_DONORS),
        "msex": rng.integers(0, 2, N_DONORS).astype(float),
    }
    donor_table = pd.DataFrame({"donor": donors} | features)
    trait_table = pd.DataFrame({"donor": donors} | traits)
    donor_table.loc[[3, 8], "size"] = np.nan
    trait_table.loc[[8, 11, 20], "braaksc"] = np.nan
    trait_table.loc[30, "age_death"] = np.nan
    return donor_table, trait_table


Tables = tuple[pd.DataFrame, pd.DataFrame]


def _row(table: pd.DataFrame, feature: str, trait: str) -> pd.Series:
    (position,) = np.flatnonzero((table.feature == feature) & (table.trait == trait))
    return table.iloc[position]


def test_associate_is_the_public_one() -> None:
    """`somaflow.donors.associate` is where the design says it is."""
    assert same_associate is associate


def test_associate_equals_scipy_on_complete_pairs(tables: Tables) -> None:
    """Each rho and p are scipy's on the donors that have both."""
    donor_table, trait_table = tables
    table = associate(*tables, traits=["plaq_n", "braaksc"], n_resamples=50)

    assert PLAIN == list(table)
    expected = [("density", "plaq_n", 40), ("density", "braaksc", 37)]
    expected += [("size", "plaq_n", 38), ("size", "braaksc", 36)]
    assert expected == list(table[["feature", "trait", "n"]].itertuples(index=False, name=None))
    for row in table.itertuples():
        reference = stats.spearmanr(
            donor_table[row.feature], trait_table[row.trait], nan_policy="omit"
        )
        assert reference.statistic == pytest.approx(row.rho, abs=1e-14)
        assert reference.pvalue == pytest.approx(row.p, rel=1e-10)
        assert row.rho_low < row.rho < row.rho_high
        assert "" == row.status


def test_associate_partial_equals_least_squares(tables: Tables) -> None:
    """Partial rho is that of residuals of ranks; p is that of a regression on ranks."""
    import statsmodels.api as sm

    covariates = ["age_death", "msex"]
    table = associate(*tables, traits=["plaq_n", "braaksc"], covariates=covariates, n_resamples=50)

    assert PLAIN + PARTIAL == list(table)
    whole = tables[0].merge(tables[1], on="donor")
    for row in table.itertuples():
        ranks = whole[[row.feature, row.trait, *covariates]].dropna().rank()
        design = sm.add_constant(ranks[[row.trait, *covariates]])
        fit = sm.OLS(ranks[row.feature], design).fit()
        taken_out = ranks[covariates].T.to_numpy()
        expected = spearman([ranks[row.feature]], [ranks[row.trait]], taken_out).item()
        assert len(ranks) == row.partial_n
        assert expected == pytest.approx(row.partial_rho, abs=1e-12)
        assert fit.pvalues[row.trait] == pytest.approx(row.partial_p, rel=1e-8)
        assert row.partial_rho_low < row.partial_rho < row.partial_rho_high
        assert "" == row.partial_status


def test_associate_interval_equals_scipy_bootstrap(tables: Tables) -> None:
    """The interval is scipy's BCa on the same draws, donors sorted."""
    shuffled = tables[0].sample(frac=1, random_state=1)
    row = _row(associate(shuffled, tables[1], n_resamples=400, seed=5), "density", "plaq_n")

    reference = stats.bootstrap(
        (tables[0].density.to_numpy(), tables[1].plaq_n.to_numpy()),
        lambda x, y: stats.spearmanr(x, y).statistic,
        n_resamples=400,
        paired=True,
        vectorized=False,
        method="BCa",
        rng=np.random.default_rng(5),
    ).confidence_interval
    np.testing.assert_allclose([row.rho_low, row.rho_high], reference, rtol=0, atol=1e-9)


def test_associate_row_does_not_depend_on_the_others(tables: Tables) -> None:
    """One pair alone has the row it has among all: groups and blocks do not show."""
    columns = ["rho", "rho_low", "rho_high", "p"]
    whole = associate(*tables, n_resamples=60)

    for row in whole.itertuples():
        alone = associate(*tables, features=[row.feature], traits=[row.trait], n_resamples=60)
        expected = _row(whole, row.feature, row.trait)[columns].astype(float)
        np.testing.assert_array_equal(expected, alone[columns].iloc[0].astype(float))


@settings(max_examples=15)
@given(st.permutations(range(N_DONORS)), st.permutations(range(N_DONORS)))
def test_associate_does_not_depend_on_row_order(left: list[int], right: list[int]) -> None:
    """Donors are matched by id, whatever their order in the tables."""
    donors = [f"d{index}" for index in range(N_DONORS)]
    rng = np.random.default_rng(0)
    donor_table = pd.DataFrame({"donor": donors, "x": rng.standard_normal(N_DONORS)})
    trait_table = pd.DataFrame({"donor": donors, "y": rng.standard_normal(N_DONORS)})

    expected = associate(donor_table, trait_table, n_resamples=30)
    actual = associate(donor_table.iloc[left], trait_table.iloc[right], n_resamples=30)
    pd.testing.assert_frame_equal(expected, actual)


def test_associate_takes_donors_in_common(tables: Tables) -> None:
    """Donors of one table alone are left out."""
    table = associate(tables[0].iloc[:30], tables[1].iloc[10:], n_resamples=20)

    assert 20 == _row(table, "density", "plaq_n").n


def test_associate_q_is_within_families(tables: Tables) -> None:
    """The q of a family is that of its p alone; without families there is one."""
    families = {"density": "densities", "size": "sizes"}
    table = associate(*tables, families=families, n_resamples=20)
    single = associate(*tables, n_resamples=20)

    for _, family in table.groupby("feature"):
        expected = stats.false_discovery_control(family.p)
        np.testing.assert_allclose(family.q, expected, rtol=1e-12)
    np.testing.assert_allclose(single.q, stats.false_discovery_control(single.p), rtol=1e-12)


def test_associate_defaults_are_columns_of_numbers_but_covariates(tables: Tables) -> None:
    """Neither ids, words nor covariates are features or traits unless named."""
    trait_table = tables[1].assign(Study="ROS")
    table = associate(tables[0], trait_table, covariates=["msex"], n_resamples=20)

    assert {"density", "size"} == set(table.feature)
    assert {"plaq_n", "braaksc", "age_death"} == set(table.trait)


def test_associate_reads_nullable_columns(tables: Tables) -> None:
    """Whole numbers with pandas' own missing values, and columns of objects, are numbers."""
    values: list[object] = [None, True, *range(2, N_DONORS)]
    trait_table = tables[1].assign(
        grade=pd.array([pd.NA, 1, *range(2, N_DONORS)], dtype="Int64"),
        odd=pd.Series(values, dtype=object),
        levels=pd.Categorical(values, ordered=True),
    )
    traits = ["grade", "odd", "levels"]
    table = associate(tables[0], trait_table, features=["density"], traits=traits, n_resamples=20)

    assert [39, 39, 39] == list(table.n)
    assert 1 == table.rho.nunique()


def test_associate_of_nothing_is_an_empty_table(tables: Tables) -> None:
    """No feature or no trait gives no rows under the same columns."""
    for nothing in ({"features": []}, {"traits": []}):
        table = associate(*tables, covariates=["msex"], n_resamples=20, **nothing)
        assert PLAIN + PARTIAL == list(table)
        assert 0 == len(table)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([1.0, 2.0, 3.0] + [np.nan] * 37, "3 donors, 4 needed"),
        ([1.0] + [np.nan] * 39, "1 donor, 4 needed"),
        ([2.0] * 40, "trait is constant"),
        ([np.nan] * 40, "trait has no value"),
        (["90+"] + [80.0] * 39, "trait is text, not numbers"),
        ([np.inf] + [80.0] * 39, "trait has infinite values"),
    ],
)
def test_associate_says_why_a_trait_has_no_rho(
    tables: Tables, values: list[object], status: str
) -> None:
    """The row stays, without numbers and with the reason; the others do not notice."""
    trait_table = tables[1].assign(bad=values)
    table = associate(tables[0], trait_table, traits=["plaq_n", "bad"], n_resamples=20)
    expected = associate(*tables, traits=["plaq_n"], n_resamples=20)

    bad = table[table.trait == "bad"]
    assert [status, status] == list(bad.status)
    assert bad[["rho", "rho_low", "rho_high", "p", "q"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(expected, table[table.trait == "plaq_n"].reset_index(drop=True))


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (2.0, "feature is constant"),
        (np.nan, "feature has no value"),
        ("x", "feature is text, not numbers"),
    ],
)
def test_associate_says_why_a_feature_has_no_rho(
    tables: Tables, value: object, status: str
) -> None:
    """A feature that cannot be used keeps its rows, plain and partial."""
    table = associate(
        tables[0].assign(bad=value),
        tables[1],
        features=["bad"],
        traits=["plaq_n"],
        covariates=["msex"],
        n_resamples=20,
    )

    assert [status] == list(table.status)
    assert [status] == list(table.partial_status)


@pytest.mark.parametrize(
    ("extra", "note"),
    [
        (lambda table: table.msex * 0, "extra is constant, left out"),
        (lambda table: -table.msex, "extra repeats other covariates, left out"),
        (lambda table: np.exp(table.age_death), "extra repeats other covariates, left out"),
    ],
)
def test_associate_leaves_out_redundant_covariates(
    tables: Tables, extra: object, note: str
) -> None:
    """What adds nothing costs no degree of freedom and is named."""
    trait_table = tables[1].assign(extra=extra)
    covariates = ["age_death", "msex"]
    expected = associate(*tables, traits=["plaq_n"], covariates=covariates, n_resamples=20)
    actual = associate(
        tables[0], trait_table, traits=["plaq_n"], covariates=[*covariates, "extra"], n_resamples=20
    )

    assert [note, note] == list(actual.partial_status)
    pd.testing.assert_frame_equal(
        expected.drop(columns="partial_status"), actual.drop(columns="partial_status")
    )


def test_associate_says_that_covariates_explain_a_column(tables: Tables) -> None:
    """A trait that is its own covariate has a rho and no partial one."""
    table = associate(
        *tables, features=["density"], traits=["msex"], covariates=["msex"], n_resamples=20
    )

    assert ["trait is explained by the covariates"] == list(table.partial_status)
    assert [""] == list(table.status)
    assert table.partial_p.isna().all()


def test_associate_needs_a_donor_more_for_each_covariate(tables: Tables) -> None:
    """Five donors are enough for rho, not for two covariates beside it."""
    table = associate(
        tables[0].iloc[:5],
        tables[1].assign(msex=[0.0, 1.0] * 20),
        features=["density"],
        traits=["plaq_n"],
        covariates=["age_death", "msex"],
        n_resamples=20,
    )

    assert [""] == list(table.status)
    assert ["5 donors, 6 needed"] == list(table.partial_status)


def test_associate_holds_a_perfect_association(tables: Tables) -> None:
    """A rho of 1 has p 0 and an interval of its own value, without a warning."""
    trait_table = tables[1].assign(twin=np.exp(tables[0].density))
    row = _row(associate(tables[0], trait_table, n_resamples=50), "density", "twin")

    assert [1.0, 1.0, 1.0, 0.0] == [row.rho, row.rho_low, row.rho_high, row.p]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x.drop(columns="donor"), y), "donor_table must have a column donor"),
        (lambda x, y: (x, y.assign(donor=range(40))), "donor must be text .* trait_table, found 0"),
        (lambda x, y: (x.assign(donor=["", *x.donor[1:]]), y), "donor_table, found '';"),
        (lambda x, y: (pd.concat([x, x.iloc[:2]]), y), "found twice: 00000000, 00000001;"),
        (lambda x, y: (pd.concat([x, x[["size"]]], axis=1), y), "different names, .* size"),
        (
            lambda x, y: (x, y.assign(donor=y.donor.str.lstrip("0") + "x")),
            "donors in common, found 00000000, 00000001.* and 35 more in the one and x, 1x, 2x",
        ),
    ],
)
def test_associate_refuses_donors_that_do_not_fit(
    tables: Tables, change: object, message: str
) -> None:
    """Ids lost, doubled, missing or unlike are an error that quotes them."""
    trait_table = tables[1]
    with pytest.raises(BadInputError, match=message):
        associate(*change(tables[0], trait_table), n_resamples=20)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": ["densty"]}, "features must be .* found densty, not in the table"),
        ({"traits": ["plaq_n", "plaq_n"]}, "traits must be .* plaq_n, given twice"),
        ({"covariates": ["pmi"]}, "covariates must be .* pmi, not in the table"),
        ({"covariates": ["word"]}, "covariates must be numbers, found that word is text"),
        ({"families": {"density": "a"}}, "families must name .* not found: size"),
        ({"n_resamples": 0}, "n_resamples must be a whole number >= 1, got 0"),
    ],
)
def test_associate_refuses_bad_arguments(
    tables: Tables, arguments: dict[str, object], message: str
) -> None:
    """Names that are not there and numbers that cannot be are said at once."""
    with pytest.raises(BadInputError, match=message):
        associate(tables[0], tables[1].assign(word="x"), **({"n_resamples": 20} | arguments))
