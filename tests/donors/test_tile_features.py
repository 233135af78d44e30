import numpy as np
import pandas as pd
import pytest

from somaflow.donors.tile_features import FEATURES, SEPARATOR, in_micrometres, measure_tile_features
from somaflow.errors import BadInputError
from somaflow.features import measure_cells
from somaflow.phenotypes import call_positive

HEIGHT, WIDTH = 200, 400


def _draw_squares(sides: list[int], levels: list[int]) -> pd.DataFrame:
    """Cells of one tile: squares of known side and marker level, 40 px apart in a row."""
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint32)
    image = np.full((2, HEIGHT, WIDTH), 10, dtype=np.uint8)
    for cell, (side, level) in enumerate(zip(sides, levels, strict=True)):
        place = np.s_[50 : 50 + side, 40 * cell : 40 * cell + side]
        labels[place], image[1][place] = cell + 1, level
    return measure_cells(labels, image)


def _tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tile a: squares of 4, 6 and 10 px side, two bright; b: no cells; c: no cells, no tissue."""
    cells = _draw_squares([4, 6, 10], [30, 110, 210])
    cells = cells.assign(tile_id="a", donor="00000001", marker="GFAP")
    quality = pd.DataFrame(
        {
            "tile_id": ["b", "a", "c"],
            "donor": "00000001",
            "marker": "GFAP",
            "region": ["grey", "white", "grey"],
            "height_px": HEIGHT,
            "width_px": WIDTH,
            "tissue_px": [80_000, 40_000, 0],
            "marker_median": 10.0,
            "marker_p75": 100.0,
            "marker_otsu": [150.0] * 3,
        }
    )
    return cells, quality


def _measure(pixel_size_um: float | None = None) -> pd.DataFrame:
    cells, quality = _tables()
    positive = call_positive(cells, quality, ["p75", "otsu"])
    features = measure_tile_features(cells, quality, positive, pixel_size_um)
    return features.set_index("tile_id")


def test_squares_of_known_size_give_known_features() -> None:
    """16 + 36 + 100 px of cells in 40,000 px of tissue, and medians of the 6 px square."""
    row = _measure().loc["a"]
    expected = {
        "n_cells": 3,
        "any|density_per_mpx": 75,
        "any|area_fraction": 152 / 40_000,
        "any|median_area_px": 36,
        "any|median_radius_px": 6 / np.sqrt(np.pi),
        "any|median_eccentricity": 0,
        "any|median_solidity": 1,
        "any|median_marker_above_background": 100,
        "p75|positive_fraction": 2 / 3,
        "p75|positive_density_per_mpx": 50,
        "p75|positive_area_fraction": 136 / 40_000,
        "otsu|positive_fraction": 1 / 3,
        "otsu|positive_density_per_mpx": 25,
        "otsu|positive_area_fraction": 100 / 40_000,
    }
    assert expected == pytest.approx(row[list(expected)].to_dict())


def test_tile_without_cells_is_a_row_of_density_0() -> None:
    """No cells: densities and area fractions are 0, everything else is unknown."""
    row = _measure().loc["b"]
    zero = [name for name in row.index if "density" in name or "area_fraction" in name]
    assert [0.0] * 6 == row[zero].tolist()
    others = [name for name in row.index if SEPARATOR in name and name not in zero]
    assert row[others].isna().all()
    assert 0 == row["n_cells"]


def test_tile_without_tissue_has_no_density() -> None:
    """Where there is no tissue, 0 cells in it are not a density of 0."""
    row = _measure().loc["c"]
    assert row[[name for name in row.index if SEPARATOR in name]].isna().all()


def test_rows_follow_the_tiles_and_columns_are_in_the_dictionary() -> None:
    """A row a tile in the order of the quality table; each column is in the data dictionary."""
    features = _measure()
    assert ["b", "a", "c"] == list(features.index)
    named = [name.partition(SEPARATOR)[2] for name in features if SEPARATOR in name]
    assert 16 == len(named)
    assert set(named) <= set(FEATURES)
    assert set(map(in_micrometres, named)) <= set(FEATURES)
    assert all(feature.meaning.endswith(".") and feature.unit for feature in FEATURES.values())


def test_known_pixel_size_gives_millimetres_and_micrometres() -> None:
    """With pixels of 0.5 um, 75 cells per Mpx are 300 per mm2 and 36 px are 9 um2."""
    features, in_pixels = _measure(pixel_size_um=0.5), _measure()
    row = features.loc["a"]
    expected = {
        "any|density_per_mm2": 300,
        "any|area_fraction": 152 / 40_000,
        "any|median_area_um2": 9,
        "any|median_radius_um": 3 / np.sqrt(np.pi),
        "p75|positive_density_per_mm2": 200,
    }
    assert expected == pytest.approx(row[list(expected)].to_dict())
    assert len(in_pixels.columns) == len(features.columns)
    assert not [name for name in features if "|" in name and name.endswith(("_px", "_mpx"))]


def test_spacing_is_told_only_where_tissue_fills_the_tile() -> None:
    """Six cells 40 px apart have their distance on a full tile, and none on one half empty."""
    cells = _draw_squares([5] * 6, [200] * 6).assign(tile_id="a", donor="1", marker="GFAP")
    _, quality = _tables()
    distances = []
    for tissue_px in (80_000, 40_000):
        tiles = quality.assign(tissue_px=tissue_px)
        features = measure_tile_features(cells, tiles, call_positive(cells, tiles, ["p75"]))
        distances.append(features.set_index("tile_id").loc["a", "any|median_nearest_neighbour_px"])
    assert 40 == distances[0]
    assert np.isnan(distances[1])


def test_unknown_calls_leave_positive_features_unknown() -> None:
    """A donor whose mixture is not separated has no positive density, nor on its empty tiles."""
    cells, quality = _tables()
    positive = call_positive(cells, quality, ["mixture", "p75"])
    features = measure_tile_features(cells, quality, positive)
    assert features["mixture|positive_density_per_mpx"].isna().all()
    assert features["mixture|positive_fraction"].isna().all()
    assert [0, 50] == features["p75|positive_density_per_mpx"].tolist()[:2]


def test_empty_tile_of_a_separated_mixture_has_no_positive_cells() -> None:
    """Where the donor's mixture is known, a tile without cells has a positive density of 0."""
    cells, quality = _tables()
    positive = pd.DataFrame({"mixture": pd.array([False, True, True], dtype="boolean")})
    features = measure_tile_features(cells, quality, positive)
    assert [0, 50] == features["mixture|positive_density_per_mpx"].tolist()[:2]


def test_tile_that_could_not_be_measured_is_unknown_and_spoils_no_other() -> None:
    """A tile of unknown size and tissue, with cells, is NaN; the others are as without it."""
    cells, quality = _tables()
    unmeasured = quality[:1].assign(tile_id="x").astype({"height_px": float})
    unmeasured[["height_px", "width_px", "tissue_px", "marker_median", "marker_p75"]] = np.nan
    both = pd.concat([quality, unmeasured], ignore_index=True)
    more = pd.concat([cells, cells.assign(tile_id="x")], ignore_index=True)
    expected = measure_tile_features(cells, quality, call_positive(cells, quality, ["p75"]))
    actual = measure_tile_features(more, both, call_positive(more, both, ["p75"]))
    pd.testing.assert_frame_equal(expected, actual[:3])
    densities = [name for name in actual if "density" in name or "positive" in name]
    assert actual.loc[3, densities].isna().all()


def test_order_of_cells_does_not_matter() -> None:
    """Shuffled cells give the same features."""
    cells, quality = _tables()
    shuffled = cells.iloc[[2, 0, 1]]
    expected, actual = (
        measure_tile_features(table, quality, call_positive(table, quality, ["p75"]))
        for table in (cells, shuffled)
    )
    pd.testing.assert_frame_equal(expected, actual)


def test_study_without_cells_still_has_its_tiles() -> None:
    """A recipe that finds nothing gives a row a tile, of density 0."""
    cells, quality = _tables()
    none = cells[:0]
    features = measure_tile_features(none, quality, call_positive(none, quality, ["p75"]))
    assert [0.0, 0.0] == features["any|density_per_mpx"].tolist()[:2]
    assert 3 == len(features)


def test_tables_that_do_not_fit_are_refused() -> None:
    """Missing columns, calls of other cells and a pixel of no size are refused."""
    cells, quality = _tables()
    positive = call_positive(cells, quality, ["p75"])
    with pytest.raises(BadInputError, match="tissue_px"):
        measure_tile_features(cells, quality.drop(columns="tissue_px"), positive)
    with pytest.raises(BadInputError, match="solidity"):
        measure_tile_features(cells.drop(columns="solidity"), quality, positive)
    with pytest.raises(BadInputError, match="rows of the cells"):
        measure_tile_features(cells, quality, positive[:2])
    with pytest.raises(BadInputError, match="above 0"):
        measure_tile_features(cells, quality, positive, pixel_size_um=0)
