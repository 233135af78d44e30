import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import BadInputError
from somaflow.features import measure_cells
from somaflow.phenotypes import PHENOTYPES, call_positive, fit_mixtures
from somaflow.tiles.quality import measure_quality

BY_TILE = [name for name in PHENOTYPES if name != "mixture"]


def _squares() -> tuple[np.ndarray, np.ndarray]:
    """A tile of 100 x 100 px with grey levels 0 to 99 in equal shares, and ten square cells.

    Column x has level x, so the mean of a square of 4 px at column x is x + 1.5, and percentile q
    of the pixels is about q.
    """
    image = np.tile(np.arange(100, dtype=np.uint8), (2, 100, 1))
    labels = np.zeros((100, 100), dtype=np.uint32)
    for cell in range(10):
        labels[10 * cell : 10 * cell + 4, 10 * cell : 10 * cell + 4] = cell + 1
    return labels, image


def _tables(labels: np.ndarray, image: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = {"tile_id": "a", "donor": "00000001", "marker": "GFAP"}
    cells = measure_cells(labels, image).assign(**names)
    return cells, pd.DataFrame([names | measure_quality(image)])


def test_cells_of_known_brightness_are_called_by_known_percentiles() -> None:
    """Of squares of mean 1.5, 11.5 ... 91.5 in a ramp of 0 to 99, four lie above the 60th."""
    calls = call_positive(*_tables(*_squares()), phenotypes=["p60", "p70", "p75", "p80", "p90"])
    assert [4, 3, 2, 2, 1] == [int(calls[name].sum()) for name in calls]


def test_calls_equal_a_loop_over_tiles() -> None:
    """Every rule gives what its definition gives, tile by tile and cell by cell."""
    rng = np.random.default_rng(0)
    cells, quality = _random_tables(rng, n_cells=500, n_tiles=7)
    calls = call_positive(cells, quality, BY_TILE)
    rows = quality.set_index("tile_id")
    for name in BY_TILE:
        expected = [
            mean > rows.loc[tile, f"marker_{name}"]
            for tile, mean in zip(cells["tile_id"], cells["marker_mean"], strict=True)
        ]
        assert expected == calls[name].tolist()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_percentile_phenotypes_are_nested(seed: int) -> None:
    """A cell that is positive at a percentile is so at every lower one."""
    cells, quality = _random_tables(np.random.default_rng(seed), n_cells=60, n_tiles=3)
    calls = call_positive(cells, quality, ["p60", "p70", "p75", "p80", "p90"]).to_numpy(dtype=int)
    assert (np.diff(calls, axis=1) <= 0).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_relabelling_changes_no_call(seed: int) -> None:
    """Cells with other label numbers, in another order, are the same cells."""
    labels, image = _squares()
    numbers = np.append(0, np.random.default_rng(seed).permutation(50)[:10] + 1).astype(np.uint32)
    calls = call_positive(*_tables(labels, image), phenotypes=BY_TILE)
    changed = call_positive(*_tables(numbers[labels], image), phenotypes=BY_TILE)
    order = np.argsort(numbers[1:])
    pd.testing.assert_frame_equal(calls.iloc[order].reset_index(drop=True), changed)


def test_a_cell_at_the_threshold_is_negative() -> None:
    """Positive means above: in a tile of one grey level no cell is positive by any tile's rule."""
    labels, image = _squares()
    calls = call_positive(*_tables(labels, np.full_like(image, 9)), phenotypes=BY_TILE)
    assert 0 == int(calls.to_numpy(dtype=int).sum())


def _two_donors() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Donor a has dim and bright cells, donor b one kind; tile c of b was not measured."""
    rng = np.random.default_rng(1)
    bright = np.exp(np.concatenate([rng.normal(2, 0.2, 80), rng.normal(4, 0.2, 40)]))
    single = np.exp(rng.normal(3, 0.2, 100))
    cells = pd.DataFrame(
        {
            "tile_id": ["a"] * 120 + ["b"] * 99 + ["c"],
            "donor": ["a"] * 120 + ["b"] * 100,
            "marker": "GFAP",
            "marker_mean": np.concatenate([bright, single]),
        }
    )
    return cells, pd.DataFrame({"tile_id": ["c", "b", "a"], "marker_p60": [np.nan, 0.0, 1e9]})


def test_mixture_calls_are_missing_where_it_is_not_separated() -> None:
    """A donor with two kinds of cells is called exactly; one with a single kind is missing."""
    cells, quality = _two_donors()
    calls = call_positive(cells, quality, ["mixture"])["mixture"]
    assert [False] * 80 + [True] * 40 == calls[:120].tolist()
    assert calls[120:].isna().all()


def test_calls_are_missing_where_the_tile_was_not_measured() -> None:
    """A tile without a threshold has no positive and no negative cell."""
    calls = call_positive(*_two_donors(), ["p60"])["p60"]
    assert (0, 99, 1) == (calls[:120].sum(), calls[120:219].sum(), calls.isna().sum())


def test_mixtures_are_fitted_to_tiles_that_pass() -> None:
    """Cells of a tile that fails quality do not move the threshold, but are called by it."""
    cells, _ = _two_donors()
    bad = cells[:120].assign(tile_id="bad", marker_mean=1e4)
    both = pd.concat([cells[:120], bad], ignore_index=True)
    quality = pd.DataFrame({"tile_id": ["a", "bad"], "passes": [True, False]})
    calls = call_positive(both, quality, ["mixture"])["mixture"]
    given = call_positive(both, quality, ["mixture"], fit_mixtures(cells[:120]))["mixture"]
    assert [False] * 80 + [True] * 160 == calls.tolist()
    assert given.tolist() == calls.tolist()


def test_calls_keep_the_index_of_the_cells_and_the_order_of_names() -> None:
    """Calls can be joined to their cells; no cells give no rows."""
    cells, quality = _tables(*_squares())
    cells.index = pd.Index(range(50, 60))
    calls = call_positive(cells, quality, ["mixture", "otsu", "p75"])
    assert ["mixture", "otsu", "p75"] == list(calls)
    assert list(cells.index) == list(calls.index)
    assert (0, 7) == call_positive(cells[:0], quality).shape


def test_what_does_not_fit_is_refused() -> None:
    """Unknown rules, tiles without quality, repeated tiles and missing columns are named."""
    cells, quality = _tables(*_squares())
    with pytest.raises(BadInputError, match="p61"):
        call_positive(cells, quality, ["p61"])
    with pytest.raises(BadInputError, match="none for b"):
        call_positive(cells.assign(tile_id="b"), quality)
    with pytest.raises(BadInputError, match="found twice: a"):
        call_positive(cells, pd.concat([quality, quality]))
    with pytest.raises(BadInputError, match="marker_p90"):
        call_positive(cells, quality.drop(columns="marker_p90"))
    with pytest.raises(BadInputError, match="marker_mean"):
        call_positive(cells.drop(columns="marker_mean"), quality)


def _random_tables(
    rng: np.random.Generator, n_cells: int, n_tiles: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells of whole-number brightness on tiles with ordered percentiles, so that ties occur."""
    tiles = [f"tile-{index}" for index in rng.permutation(n_tiles)]
    levels = np.sort(rng.integers(0, 100, (n_tiles, 5)), axis=1)
    quality = pd.DataFrame(levels, columns=[f"marker_p{q}" for q in (60, 70, 75, 80, 90)])
    quality = quality.assign(tile_id=tiles, marker_otsu=rng.integers(0, 100, n_tiles))
    cells = pd.DataFrame(
        {
            "tile_id": rng.choice(tiles, n_cells),
            "donor": "00000001",
            "marker": "GFAP",
            "marker_mean": rng.integers(0, 100, n_cells).astype(float),
        }
    )
    return cells, quality
