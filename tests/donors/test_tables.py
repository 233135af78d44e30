import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean

from somaflow.donors.tables import (
    subsample_donor_means,
    tabulate_donors,
    trimmed_means,
    widen,
)
from somaflow.donors.tile_features import measure_tile_features
from somaflow.errors import BadInputError
from somaflow.features import measure_cells
from somaflow.phenotypes import call_positive
from somaflow.synthetic.cells import draw_tile
from somaflow.synthetic.donors import draw_donors
from somaflow.tiles.quality import judge_tiles, measure_quality


def _trim(values: np.ndarray, share: float = 0.2) -> float:
    """The trimmed mean of what is defined, by scipy."""
    known = values[~np.isnan(values)]
    return float(trim_mean(known, share)) if known.size else np.nan


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.49]), st.integers(0, 60))
def test_redraws_equal_scipy_one_by_one(seed: int, share: float, n_tiles: int) -> None:
    """Each redraw, donor and feature is scipy's trim_mean of the values that are there."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, (n_tiles, 3)) / 7
    values[rng.random(values.shape) < 0.2] = np.nan
    donors, masks = rng.integers(0, 4, n_tiles), rng.random((5, n_tiles)) < 0.7
    actual = subsample_donor_means(values, donors, masks, n_donors=5, share=share)
    assert (5, 5, 3) == actual.shape
    for redraw, donor, feature in np.ndindex(actual.shape):
        chosen = values[masks[redraw] & (donors == donor), feature]
        expected = _trim(chosen, share)
        np.testing.assert_allclose(actual[redraw, donor, feature], expected, rtol=1e-12)


def test_redraw_of_all_tiles_equals_the_table_bit_for_bit() -> None:
    """A mask of all tiles gives the donor's value itself, not nearly so."""
    rng = np.random.default_rng(0)
    values, donors = rng.normal(size=(300, 4)), rng.integers(0, 9, 300)
    expected = trimmed_means(values, donors, 9)
    actual = subsample_donor_means(values, donors, np.ones((2, 300), dtype=bool))
    assert np.array_equal(np.stack([expected, expected]), actual)


def test_outlying_tiles_do_not_move_a_donor() -> None:
    """Of ten tiles the two highest and two lowest are left out."""
    values = np.array([[-1e9, -1e9, 1, 2, 3, 4, 5, 6, 1e9, 1e9]]).T
    assert [[3.5]] == trimmed_means(values, np.zeros(10, dtype=int), 1).tolist()


@pytest.mark.parametrize(
    ("donors", "masks", "what"),
    [
        (np.array([0, 1, 2]), np.ones((2, 3)), "bool"),
        (np.array([0.0, 1, 2]), np.ones((2, 3), dtype=bool), "whole numbers"),
        (np.array([0, -1, 2]), np.ones((2, 3), dtype=bool), "without a donor"),
        (np.array([0, 1, 2]), np.ones((2, 4), dtype=bool), r"\(R, 3\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    donors: np.ndarray, masks: np.ndarray, what: str
) -> None:
    """Wrong dtypes, shapes and codes are refused before numba reads past an array."""
    with pytest.raises(BadInputError, match=what):
        subsample_donor_means(np.zeros((3, 1)), donors, masks)


def _tiles() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Donor a: five grey tiles and two white ones, one of them bad; donor b: one grey tile."""
    tiles = pd.DataFrame(
        {
            "tile_id": list("pqrstuvw"),
            "donor": ["a"] * 7 + ["b"],
            "marker": "GFAP",
            "region": ["grey"] * 5 + ["white"] * 2 + ["grey"],
            "n_cells": [1, 2, 3, 4, 5, 6, 7, 8],
            "tissue_px": 500_000.0,
            "any|density_per_mpx": [1.0, 2, 3, 4, 50, 60, 7, 8],
            "any|clark_evans_ratio": [np.nan] * 5 + [1.0, 2.0, np.nan],
            "p75|positive_fraction": [0.1, 0.2, 0.3, np.nan, np.nan, np.nan, 0.7, 0.8],
        }
    )
    quality = tiles[["tile_id"]].assign(passes=[True] * 6 + [False, True])
    return tiles, quality[::-1]


def _row(table: pd.DataFrame, region: str, phenotype: str, donor: str) -> pd.Series:
    chosen = (table.region == region) & (table.phenotype == phenotype) & (table.donor == donor)
    assert 1 == chosen.sum()
    return table[chosen].iloc[0]


def test_tabulate_donors_takes_trimmed_means_of_tiles_that_pass() -> None:
    """A donor's value is the trimmed mean of its good tiles, within each region and over all."""
    table = tabulate_donors(*_tiles(), recipe="hybrid")
    everywhere = _row(table, "all", "any", "a")
    assert _trim(np.array([1.0, 2, 3, 4, 50, 60])) == everywhere["density_per_mpx"]
    assert 3.0 == _row(table, "grey", "any", "a")["density_per_mpx"]
    assert 60.0 == _row(table, "white", "any", "a")["density_per_mpx"]
    assert 0.2 == pytest.approx(_row(table, "all", "p75", "a")["positive_fraction"])
    assert np.isnan(_row(table, "grey", "any", "a")["clark_evans_ratio"])


def test_tabulate_donors_counts_tiles_cells_and_tissue() -> None:
    """Tiles are counted all and used; cells and tissue only where used; too few are flagged."""
    table = tabulate_donors(*_tiles(), recipe="hybrid", min_tiles=3)
    counts = ["n_tiles", "n_tiles_used", "n_cells", "tissue_mpx", "flag"]
    assert [7, 6, 21, 3.0, ""] == _row(table, "all", "any", "a")[counts].tolist()
    assert [2, 1, 6, 0.5, "1 tile, 3 needed"] == _row(table, "white", "p75", "a")[counts].tolist()
    assert [0, 0, 0, 0.0, "0 tiles, 3 needed"] == _row(table, "white", "any", "b")[counts].tolist()


def test_tabulate_donors_keeps_phenotypes_apart() -> None:
    """Every group and donor is one row; each phenotype has its own features and no others."""
    table = tabulate_donors(*_tiles(), recipe="hybrid")
    # 3 regions x 2 phenotypes x 2 donors
    assert 12 == len(table.drop_duplicates(["recipe", "marker", "region", "phenotype", "donor"]))
    assert ["all", "grey", "white"] == list(table["region"].unique())
    assert table.loc[table["phenotype"] == "any", "positive_fraction"].isna().all()
    assert table.loc[table["phenotype"] == "p75", "density_per_mpx"].isna().all()
    assert ["density_per_mpx", "clark_evans_ratio", "positive_fraction"] == list(table)[-3:]


def test_study_without_regions_has_one_group_a_marker() -> None:
    """Where the layout names no region, there is "all" alone, for each marker its own donors."""
    tiles, quality = _tiles()
    markers = ["GFAP"] * 7 + ["NeuN"]
    table = tabulate_donors(tiles.assign(region="", marker=markers), quality, recipe="x")
    assert ["all"] == list(table["region"].unique())
    assert [("GFAP", "a"), ("NeuN", "b")] == sorted({*zip(table.marker, table.donor, strict=True)})


def test_labels_of_synthetic_tiles_come_out_as_their_donors_densities() -> None:
    """From pixels to donors: three tiles a donor give the mean of their drawn cells per Mpx."""
    shape, cells, quality, expected = (208, 278), [], [], {}
    for donor in draw_donors(0, 2):
        drawn = [draw_tile(np.random.default_rng(tile), "NeuN", donor, shape) for tile in range(3)]
        for tile, (image, labels) in enumerate(drawn):
            names = {"tile_id": f"{donor.projid}-{tile}", "donor": donor.projid, "marker": "NeuN"}
            cells.append(measure_cells(labels, image).assign(**names))
            quality.append(names | {"region": "grey"} | measure_quality(image))
        expected[donor.projid] = np.mean([labels.max() for _, labels in drawn]) / 208 / 278 * 1e6
    judged, found = judge_tiles(pd.DataFrame(quality)), pd.concat(cells, ignore_index=True)
    features = measure_tile_features(found, judged, call_positive(found, judged))
    wide, _ = widen(tabulate_donors(features, judged, recipe="truth"))
    densities = wide.set_index("donor")["truth|NeuN|all|any|density_per_mpx"]
    assert expected == pytest.approx(densities.to_dict())
    # Bodies of the marker are brighter than three quarters of their tile.
    assert (wide["truth|NeuN|all|p75|positive_fraction"] > 0.9).all()


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(8)))
def test_order_of_tiles_does_not_matter(order: list[int]) -> None:
    """Shuffled tiles give the same table, bit for bit."""
    tiles, quality = _tiles()
    expected = tabulate_donors(tiles, quality, recipe="x")
    pd.testing.assert_frame_equal(
        expected, tabulate_donors(tiles.iloc[order], quality, recipe="x"), check_exact=True
    )


def test_widen_gives_each_number_its_column() -> None:
    """Values keep their place; flagged donors are NaN; columns without any value are left out."""
    tables = [tabulate_donors(*_tiles(), recipe=name, min_tiles=2) for name in ("old", "new")]
    wide, columns = widen(pd.concat(tables))
    assert ["a", "b"] == list(wide["donor"])
    expected = [
        f"{recipe}|GFAP|{rest}"
        for recipe in ("old", "new")
        for rest in (
            "all|any|density_per_mpx",
            "all|any|clark_evans_ratio",
            "all|p75|positive_fraction",
            "grey|any|density_per_mpx",
            "grey|p75|positive_fraction",
        )
    ]
    assert ["donor", *expected] == list(wide)
    np.testing.assert_equal(wide["old|GFAP|grey|any|density_per_mpx"].to_numpy(), [3, np.nan])
    assert expected == list(columns["column"])
    assert ["old", "GFAP", "all", "p75", "positive_fraction", "1"] == columns.iloc[2, 1:].tolist()


def test_widen_keeps_a_donor_without_any_value() -> None:
    """A donor flagged everywhere is still a row, so that nobody is lost uncounted."""
    wide, _ = widen(tabulate_donors(*_tiles(), recipe="x"))
    assert wide.set_index("donor").loc["b"].isna().all()


def test_no_tiles_give_empty_tables() -> None:
    """Where no tile has a donor there is no row, and no column but the donor."""
    tiles, quality = _tiles()
    table = tabulate_donors(tiles[:0], quality, recipe="x")
    wide, columns = widen(table)
    assert (0, 0) == (len(table), len(columns))
    assert ["donor"] == list(wide)


def test_widen_survives_parquet(tmp_path: object) -> None:
    """The donor table, read back from disk, gives the same wide table."""
    table = tabulate_donors(*_tiles(), recipe="x")
    table.to_parquet(f"{tmp_path}/donors.parquet")
    for expected, actual in zip(
        widen(table), widen(pd.read_parquet(f"{tmp_path}/donors.parquet")), strict=True
    ):
        pd.testing.assert_frame_equal(expected, actual)


def test_tables_that_do_not_fit_are_refused() -> None:
    """Tiles without quality or donor, unjudged quality and doubled donors are refused."""
    tiles, quality = _tiles()
    with pytest.raises(BadInputError, match="none for w"):
        tabulate_donors(tiles, quality[quality.tile_id != "w"], recipe="x")
    with pytest.raises(BadInputError, match="passes"):
        tabulate_donors(tiles, quality.drop(columns="passes"), recipe="x")
    with pytest.raises(BadInputError, match="must have a donor"):
        tabulate_donors(tiles.assign(donor=["a"] * 7 + [""]), quality, recipe="x")
    table = tabulate_donors(tiles, quality, recipe="x")
    with pytest.raises(BadInputError, match="found twice"):
        widen(pd.concat([table, table]))
