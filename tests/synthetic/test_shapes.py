import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from somaflow.synthetic.shapes import (
    LabelCanvas,
    Outline,
    choose_apart,
    keep_connected,
    measure_depth,
    renumber,
)


def test_depth_below_one_covers_the_area_of_the_outline() -> None:
    """A disc of 10 px covers 100 pi px, and stretching it leaves the area."""
    for elongation in (1.0, 2.5):
        laid = measure_depth(Outline(40.0, 40.0, 10.0, elongation, angle=0.7), (80, 80))
        assert laid is not None
        assert abs((laid[1] < 1).sum() - 100 * np.pi) < 8


def test_depth_of_an_outline_outside_the_image_is_none() -> None:
    """Nothing is laid where nothing shows."""
    assert measure_depth(Outline(-50.0, 10.0, 5.0), (80, 80)) is None


def test_depth_window_is_cut_at_the_border() -> None:
    """Half a disc lies inside when its centre is on the border."""
    laid = measure_depth(Outline(-0.5, 40.0, 10.0), (80, 80))
    assert laid is not None
    window, depth = laid
    assert 0 == window[0].start
    assert abs((depth < 1).sum() - 50 * np.pi) < 8


def test_canvas_gives_a_shared_pixel_to_the_deeper_outline() -> None:
    """Two overlapping discs part along the line between their centres, in any order of adding."""
    left, right = Outline(20.0, 15.0, 8.0), Outline(20.0, 25.0, 8.0)
    forward, backward = LabelCanvas((40, 40)), LabelCanvas((40, 40))
    for canvas, order in ((forward, [(1, left), (2, right)]), (backward, [(2, right), (1, left)])):
        for label, outline in order:
            laid = measure_depth(outline, (40, 40))
            assert laid is not None
            canvas.add(label, *laid)
    assert 1 == forward.labels[20, 19]
    assert 2 == forward.labels[20, 21]
    # On the line itself both are equally deep and the first keeps the pixel.
    off_line = np.arange(40) != 20
    np.testing.assert_array_equal(forward.labels[:, off_line], backward.labels[:, off_line])


def test_keep_connected_keeps_the_largest_part_and_drops_the_small() -> None:
    """A label in two parts keeps the larger one, and a label under the least area goes."""
    labels = np.zeros((10, 10), dtype=np.uint32)
    labels[0:3, 0:3] = 1
    labels[8, 8] = 1
    labels[5, 5] = 2
    areas = keep_connected(labels, min_area_px=2)
    assert [9, 0] == areas[1:].tolist()
    assert 9 == (labels == 1).sum()
    assert 0 == (labels == 2).sum()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_renumber_keeps_cells_apart_and_counts_them_from_one(values: list[int]) -> None:
    """New numbers are 1..N, in the order of the old ones, with the background where it was."""
    labels = np.array([values], dtype=np.uint32)
    numbered = renumber(labels)
    order = sorted({value for value in values if value})
    expected = [order.index(value) + 1 if value else 0 for value in values]
    assert expected == numbered[0].tolist()


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1.5))
def test_choose_apart_leaves_no_pair_too_near(seed: int, spacing: float) -> None:
    """Any two chosen points are at least spacing times the sum of their radii apart."""
    rng = np.random.default_rng(seed)
    points, radii = rng.uniform(0, 100, (40, 2)), rng.uniform(3, 15, 40)
    chosen = choose_apart(points, radii, spacing, n_wanted=20)
    assert 1 <= len(chosen) <= 20
    for i in chosen:
        for j in chosen:
            if i != j:
                gap = float(np.hypot(*(points[i] - points[j])))
                assert gap >= spacing * (radii[i] + radii[j]) * (1 - 1e-9)


def test_choose_apart_takes_fixed_points_whatever_their_distance() -> None:
    """Points that are already there stay, and newcomers keep clear of them."""
    points = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [50.0, 0.0]])
    chosen = choose_apart(points, np.full(4, 5.0), 1.0, n_wanted=4, n_fixed=2)
    assert [0, 1, 3] == chosen
