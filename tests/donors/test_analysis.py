"""From tile features to conclusions, on donors whose association is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from somaflow.donors.analysis import Analysis, analyse_donors
from somaflow.settings import DonorStatistics
from somaflow.traits import Traits, load_codebook, read_traits

N_DONORS, N_TILES = 24, 4
SETTINGS = DonorStatistics(n_resamples=400, n_tile_draws=40, traits=["nft", "gpath"])


def make_quality(n_donors: int = N_DONORS) -> pd.DataFrame:
    """All tiles of one marker, all usable."""
    donors = np.repeat([f"{1000 + index:08d}" for index in range(n_donors)], N_TILES)
    return pd.DataFrame(
        {
            "tile_id": [f"t{index:03d}" for index in range(len(donors))],
            "donor": donors,
            "marker": "GFAP",
            "region": ["Grey", "White"] * (len(donors) // 2),
            "passes": True,
        }
    )


def make_features(quality: pd.DataFrame, density: np.ndarray, noise: float) -> pd.DataFrame:
    """Tile features in which density is the donor's own and the others are noise."""
    rng = np.random.default_rng(round(100 * noise))
    n = len(quality)
    table = quality.drop(columns="passes").assign(n_cells=20, tissue_px=1e6)
    table["any|density_per_mpx"] = np.repeat(density, N_TILES) + noise * rng.standard_normal(n)
    table["any|area_fraction"] = rng.random(n)
    for phenotype in SETTINGS.phenotypes:
        table[f"{phenotype}|positive_fraction"] = rng.random(n)
        table[f"{phenotype}|positive_density_per_mpx"] = table["any|density_per_mpx"] / 2
    return table


def read(folder: Path, columns: dict[str, object], ids: list[str] | None = None) -> Traits:
    """A trait table of the donors, as users have it: numbers for ids."""
    ids = ids or [str(1000 + index) for index in range(N_DONORS)]
    table = pd.DataFrame({"projid": ids, **columns})
    table.to_csv(folder / "traits.csv", index=False)
    return read_traits(folder / "traits.csv", load_codebook(), SETTINGS.traits)


def analyse(traits: Traits | None, settings: DonorStatistics = SETTINGS) -> Analysis:
    """Two recipes on the same donors: `good` counts with little noise, `poor` with much."""
    quality = make_quality()
    density = np.arange(N_DONORS, dtype=float)
    features = {
        "good": make_features(quality, density, 1.0),
        "poor": make_features(quality, density, 40.0),
    }
    return analyse_donors(features, quality, traits, settings, seed=0)


def noise(seed: int) -> np.ndarray:
    """A trait of nothing, in numbers that the codebook allows."""
    return np.random.default_rng(seed).random(N_DONORS).round(4)


def test_known_association_is_found_and_the_null_is_not(tmp_path: Path) -> None:
    """Density rises with nft: found with q < .05 by the good recipe; gpath is free of it."""
    traits = read(tmp_path, {"nft": np.arange(N_DONORS) / 10, "gpath": noise(7)})
    table = analyse(traits).tables["associations"]
    primary = table[table.family == "good, primary"].set_index(["feature", "trait"])
    assert primary.rho["density_per_mpx", "nft"] > 0.95
    assert primary.q["density_per_mpx", "nft"] < 0.05
    assert (primary.q.xs("gpath", level="trait") >= 0.05).all()


def test_primary_family_is_declared_beforehand(tmp_path: Path) -> None:
    """Three features over all regions; Grey, White and other thresholds are exploratory."""
    analysis = analyse(read(tmp_path, {"nft": noise(0), "gpath": noise(7)}))
    columns = analysis.tables["columns"]
    primary = columns[columns.family == "good, primary"]
    expected = {("any", "density_per_mpx"), ("any", "area_fraction"), ("p75", "positive_fraction")}
    assert expected == set(zip(primary.phenotype, primary.feature, strict=True))
    assert {"all"} == set(primary.region)
    assert {"all", "Grey", "White"} == set(columns.region)


def test_better_segmentation_is_compared_on_the_same_donors(tmp_path: Path) -> None:
    """The recipe with less noise is the stronger one, and its donor values are more reliable."""
    traits = read(tmp_path, {"nft": np.arange(N_DONORS) / 10, "gpath": noise(7)})
    tables = analyse(traits).tables
    row = tables["stability"].set_index(["feature", "trait"]).loc[("density_per_mpx", "nft")]
    assert "stronger" == row.strength
    assert ("good", "poor") == (row.recipe, row.versus)
    halves = tables["reliability"].set_index(["recipe", "region", "feature"]).spearman
    assert halves["good", "all", "density_per_mpx"] > 0.9
    assert halves["good", "all", "density_per_mpx"] > halves["poor", "all", "density_per_mpx"]
    assert {"agreement", "rankings", "fits", "tile-fits"} <= set(tables)


def test_without_traits_donors_are_still_tabulated() -> None:
    """No trait table: donor tables, reliability and agreement, no association."""
    analysis = analyse(None)
    assert {"donors", "columns", "reliability", "agreement"} == set(analysis.tables)


@pytest.mark.parametrize(
    ("columns", "ids", "line"),
    [
        ({"nft": 1.0, "gpath": noise(7)}, None, "nft: no rho with any feature: trait is constant"),
        ({"nft": "", "gpath": noise(7)}, None, "nft: no rho with any feature: trait has no value"),
        ({"nft": "high", "gpath": noise(7)}, None, "nft"),
        (
            {"nft": noise(0), "gpath": noise(7)},
            [f"9{index:07d}" for index in range(N_DONORS)],
            "none of 24 donors with tiles is among the 24 of the trait table",
        ),
        (
            {"nft": noise(0), "gpath": noise(7)},
            ["1000", "1000", *map(str, range(1002, 1000 + N_DONORS))],
            "1000",
        ),
        (
            {"nft": [0.1, 0.2, 0.3, *[""] * 21], "gpath": noise(7)},
            None,
            "nft: no rho with any feature: 3 donors, 4 needed",
        ),
    ],
    ids=["constant", "all missing", "text", "no donors in common", "duplicate", "three donors"],
)
def test_bad_traits_are_a_line_each_and_the_rest_is_done(
    tmp_path: Path, columns: dict[str, object], ids: list[str] | None, line: str
) -> None:
    """What is wrong with a trait is said; donor tables are there whatever it is."""
    analysis = analyse(read(tmp_path, columns, ids))
    assert any(line in problem for problem in analysis.problems), analysis.problems
    assert "donors" in analysis.tables
    if ids is None:
        found = analysis.tables["associations"].set_index("trait")
        assert found.rho["gpath"].notna().any()


def test_collinear_covariates_are_named(tmp_path: Path) -> None:
    """Of two covariates that say the same, one is left out of partial correlations, and named."""
    traits = read(
        tmp_path,
        {"nft": noise(0), "gpath": noise(7), "educ": range(N_DONORS), "pmi": range(N_DONORS)},
    )
    settings = SETTINGS.model_copy(update={"covariates": ["educ", "pmi"]})
    problems = analyse(traits, settings).problems
    assert any("pmi" in line and "partial correlations" in line for line in problems), problems


def test_tiles_of_unknown_donors_are_counted_and_left_out() -> None:
    """A tile without a donor is no donor of its own."""
    quality = make_quality()
    quality.loc[:1, "donor"] = ""
    features = {"good": make_features(quality, np.arange(N_DONORS, dtype=float), 1.0)}
    analysis = analyse_donors(features, quality, None, SETTINGS, seed=0)
    assert "good: 2 of 96 tiles have no known donor" in "\n".join(analysis.problems)
    assert "" not in set(analysis.tables["donors"].donor)


@pytest.mark.parametrize("n_donors", [1, 2, 3, 4, 5, 6])
def test_few_donors_are_no_failure(tmp_path: Path, n_donors: int) -> None:
    """However few donors there are, they are tabulated, and what cannot be said is not said."""
    quality = make_quality(n_donors)
    density = np.arange(n_donors, dtype=float)
    features = {
        "good": make_features(quality, density, 1.0),
        "poor": make_features(quality, density, 40.0),
    }
    traits = read(tmp_path, {"nft": noise(0), "gpath": noise(7), "educ": range(N_DONORS)})
    analysis = analyse_donors(features, quality, traits, SETTINGS, seed=0)
    assert n_donors == analysis.tables["donors"].donor.nunique()
    if n_donors < 4:
        assert any(f"{n_donors} donor" in line for line in analysis.problems), analysis.problems
        assert "too few to show anything" in analysis.power


@pytest.mark.parametrize("empty", [("good", "poor"), ("poor",)])
def test_recipe_that_no_donor_has_enough_tiles_of_is_not_compared(
    tmp_path: Path, empty: tuple[str, ...]
) -> None:
    """One tile a donor where two are needed: said in a line, the page is still made."""
    quality = make_quality()
    features = {}
    for name in ("good", "poor"):
        table = make_features(quality, np.arange(N_DONORS, dtype=float), 1.0)
        features[name] = table.iloc[::N_TILES] if name in empty else table
    traits = read(tmp_path, {"nft": noise(0), "gpath": noise(7)})
    analysis = analyse_donors(features, quality, traits, SETTINGS, seed=0)
    line = "good and poor have no feature of donors in common and are not compared"
    assert line in analysis.problems
    assert "agreement" not in analysis.tables
    assert ("good" in empty) == ("associations" not in analysis.tables)
    assert 2 * N_DONORS == len(donors_of_any(analysis))


def donors_of_any(analysis: Analysis) -> pd.DataFrame:
    """A row a recipe and donor, of all regions and cells."""
    donors = analysis.tables["donors"]
    return donors[(donors.region == "all") & (donors.phenotype == "any")]


def test_feature_that_is_the_same_in_most_donors_is_left_out(tmp_path: Path) -> None:
    """Where all but three donors have 1, those three would decide: it is said, not tested."""
    quality = make_quality()
    features = make_features(quality, np.arange(N_DONORS, dtype=float), 1.0)
    features["p90|positive_fraction"] = np.where(np.arange(len(quality)) < 3 * N_TILES, 0.5, 1.0)
    traits = read(tmp_path, {"nft": noise(0), "gpath": noise(7)})
    analysis = analyse_donors({"good": features}, quality, traits, SETTINGS, seed=0)
    columns = analysis.tables["columns"]
    assert not ((columns.phenotype == "p90") & (columns.feature == "positive_fraction")).any()
    assert any("positive_fraction of good" in line for line in analysis.problems)
