import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from somaflow.donors.neighbours import (
    Points,
    clark_evans,
    median_nearest,
    nearest_distances,
    ripley_l,
)


def _strew(
    rng: np.random.Generator, n_tiles: int, mean_cells: float, height: float, width: float
) -> Points:
    """Cells strewn at random on tiles of one size, in mixed order."""
    tile = rng.permutation(np.repeat(np.arange(n_tiles), rng.poisson(mean_cells, n_tiles)))
    y, x = rng.random(len(tile)) * height, rng.random(len(tile)) * width
    return Points(y, x, tile, np.full(n_tiles, height), np.full(n_tiles, width))


def _one_tile(places: np.ndarray, height: float = 1000.0, width: float = 1000.0) -> Points:
    y, x = np.asarray(places, dtype=float).T
    tile = np.zeros(len(y), dtype=int)
    return Points(y, x, tile, np.array([height]), np.array([width]))


def _ripley_by_pairs(places: np.ndarray, height: float, width: float, radius_px: float) -> float:
    """Ripley's L(r) - r of one tile, from its definition, pair by pair."""
    n_cells = len(places)
    if n_cells < 5 or radius_px > min(height, width) / 2:
        return np.nan
    total = 0.0
    for first in range(n_cells):
        for second in range(n_cells):
            dy, dx = np.abs(places[first] - places[second])
            if first != second and np.hypot(dy, dx) <= radius_px:
                total += height * width / ((height - dy) * (width - dx))
    return float(np.sqrt(total * height * width / (n_cells * (n_cells - 1)) / np.pi) - radius_px)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(1, 60), st.booleans())
def test_all_tiles_at_once_equal_each_alone(seed: int, radius_px: float, is_whole: bool) -> None:
    """Nearest distances and L of many tiles at once are those of the definition, tile by tile."""
    rng = np.random.default_rng(seed)
    points = _strew(rng, 6, 8, 90.0, 120.0)
    if is_whole:
        # Whole-number places coincide, and lie exactly r apart.
        radius_px = round(radius_px)
        points = points._replace(y=np.floor(points.y / 5) * 5, x=np.floor(points.x / 5) * 5)
    nearest, ripley = nearest_distances(points), ripley_l(points, radius_px)
    for tile in range(6):
        places = np.column_stack([points.y, points.x])[points.tile == tile]
        between = cdist(places, places) + np.where(np.eye(len(places)) > 0, np.inf, 0)
        expected = between.min(axis=1, initial=np.inf)
        actual = nearest[points.tile == tile]
        np.testing.assert_allclose(actual, np.where(np.isinf(expected), np.nan, expected), 1e-12)
        np.testing.assert_allclose(
            ripley[tile], _ripley_by_pairs(places, 90.0, 120.0, radius_px), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("mean_cells", [20, 100])
def test_random_cells_are_neither_clustered_nor_regular(mean_cells: int) -> None:
    """Over 2000 tiles of cells strewn at random the ratio is 1 and L(r) - r is 0 on average."""
    points = _strew(np.random.default_rng(0), 2000, mean_cells, 1040.0, 1388.0)
    ratio = clark_evans(points, nearest_distances(points))
    l_minus_r = ripley_l(points, 50.0)
    assert 1 == pytest.approx(np.nanmean(ratio), abs=0.01)
    # K has no bias; its root has some in tiles of few cells.
    k = np.pi * (l_minus_r + 50) ** 2
    assert np.pi * 50**2 == pytest.approx(np.nanmean(k), rel=0.03)
    if mean_cells == 100:
        assert 0 == pytest.approx(np.nanmean(l_minus_r), abs=1)


def test_regular_cells_are_regular() -> None:
    """A grid 100 px apart has a ratio far above 1 and no pair within 50 px."""
    grid = np.stack(np.meshgrid(np.arange(50, 1000, 100), np.arange(50, 1000, 100)), -1)
    points = _one_tile(grid.reshape(-1, 2))
    nearest = nearest_distances(points)
    assert [100.0] == list(median_nearest(points, nearest))
    expected = 0.5 * 100 + (0.0514 + 0.041 / 10) * 4000 / 100
    assert 100 / expected == pytest.approx(clark_evans(points, nearest)[0])
    assert [-50.0] == list(ripley_l(points, 50.0))


def test_clustered_cells_are_clustered() -> None:
    """Ten clusters of ten cells within 20 px have a ratio far below 1 and a high L."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(100, 900, (10, 1, 2))
    points = _one_tile((centres + rng.normal(0, 10, (10, 10, 2))).reshape(-1, 2))
    assert 0.5 > clark_evans(points, nearest_distances(points))[0]
    assert 50 < ripley_l(points, 50.0)[0]


def test_few_cells_have_no_pattern() -> None:
    """Four cells, one cell and none give NaN; five give numbers; a lone cell has no neighbour."""
    tile = np.array([0] * 4 + [1] * 5 + [2])
    y = np.arange(10.0) * 30
    points = Points(y, y, tile, np.full(4, 500.0), np.full(4, 500.0))
    nearest = nearest_distances(points)
    assert [False] * 9 + [True] == list(np.isnan(nearest))
    for values in (median_nearest(points, nearest), clark_evans(points, nearest), ripley_l(points)):
        assert [True, False, True, True] == list(np.isnan(values))


def test_radius_too_large_for_a_tile_gives_nan() -> None:
    """L is not told where r is over half the tile's shorter side, other tiles keep theirs."""
    y = np.tile(np.arange(6.0) * 10, 2)
    tile = np.repeat([0, 1], 6)
    points = Points(y, y, tile, np.array([99.0, 100.0]), np.array([400.0, 400.0]))
    assert [True, False] == list(np.isnan(ripley_l(points, 50.0)))


def test_no_cells_at_all_give_nan() -> None:
    """Tiles without any cell among them are NaN, not an error."""
    none = np.empty(0)
    points = Points(none, none, none.astype(int), np.full(2, 500.0), np.full(2, 500.0))
    nearest = nearest_distances(points)
    assert np.isnan(clark_evans(points, nearest)).all()
    assert np.isnan(median_nearest(points, nearest)).all()
    assert np.isnan(ripley_l(points)).all()
