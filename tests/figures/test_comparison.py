"""Tiles with what several recipes found in them, side by side."""

import numpy as np
import pytest

from somaflow.errors import BadInputError, LabelsError
from somaflow.figures import (
    PREDICTED_COLOUR,
    REFERENCE_COLOUR,
    draw_comparison,
    draw_comparison_rows,
)
from somaflow.figures.comparison import MATCHED_COLOUR
from tests.figures.tables import open_png

SIDE = 600


def make_tile(side=SIDE):
    """Image (2, Y, X) and reference (Y, X) of two cells of 40 x 40 px."""
    image = np.random.default_rng(0).integers(0, 200, (2, side, side)).astype(np.uint8)
    reference = np.zeros((side, side), np.int32)
    reference[100:140, 100:140], reference[300:340, 300:340] = 1, 2
    return image, reference


def count_in_last_panel(picture, colour):
    """Pixels of a colour in the last panel, without title, heading and legend."""
    pixels = open_png(picture)[12 + 40 + 32 : -12 - 30]
    return int((pixels[:, -12 - 600 :] == colour).all(axis=2).sum())


def test_comparison_is_drawn_alike_from_equal_input():
    """Equal input gives equal bytes, and inputs are left alone."""
    image, reference = make_tile()
    before = image.copy(), reference.copy()
    pictures = [draw_comparison(image, reference, {"baseline": reference}, "t") for _ in range(2)]
    assert pictures[0] == pictures[1]
    np.testing.assert_array_equal(before[0], image)
    np.testing.assert_array_equal(before[1], reference)


def test_comparison_has_image_reference_and_each_prediction():
    """A row has two panels more than predictions, and a further tile is a further row."""
    image, reference = make_tile()
    one = open_png(draw_comparison(image, reference, {"a": reference}))
    two = open_png(draw_comparison(image, reference, {"a": reference, "b": reference}))
    assert (12 + 40 + 32 + 633 + 30 + 12, 3 * (633 + 12) + 12) == one.shape[:2]
    assert 4 * (475 + 12) + 12 == two.shape[1]
    rows = open_png(draw_comparison_rows([(image, reference, {"a": reference}, "t")] * 2))
    assert (2 * one.shape[0] - 12, one.shape[1]) == rows.shape[:2]


def test_comparison_tells_right_wrong_and_missed_apart():
    """A found cell, a wrong one and a missed one each have their colour, and only it."""
    image, reference = make_tile()
    right = np.where(reference == 1, reference, 0)
    everything = draw_comparison(image, reference, {"a": reference})
    assert count_in_last_panel(everything, MATCHED_COLOUR) > 300
    assert 0 == count_in_last_panel(everything, REFERENCE_COLOUR)
    half = draw_comparison(image, reference, {"a": right})
    assert count_in_last_panel(half, REFERENCE_COLOUR) > 100
    assert 0 == count_in_last_panel(half, PREDICTED_COLOUR)
    elsewhere = np.roll(reference, 60, axis=1)
    wrong = draw_comparison(image, reference, {"a": elsewhere})
    assert count_in_last_panel(wrong, PREDICTED_COLOUR) > 300
    assert 0 == count_in_last_panel(wrong, MATCHED_COLOUR)


def test_comparison_counts_an_iou_of_half_as_right():
    """As in `count_matches`, an overlap equal to the threshold is a match."""
    image, reference = make_tile()
    half = np.where(reference == 1, reference, 0)
    half[120:] = 0
    at = draw_comparison(image, reference, {"a": half}, iou_threshold=0.5)
    above = draw_comparison(image, reference, {"a": half}, iou_threshold=0.51)
    assert count_in_last_panel(at, MATCHED_COLOUR) > 0 == count_in_last_panel(above, MATCHED_COLOUR)


def test_comparison_of_empty_predictions_shows_all_as_missed():
    """Nothing predicted, and no reference either, are drawn without an error."""
    image, reference = make_tile()
    empty = np.zeros_like(reference)
    picture = draw_comparison(image, reference, {"a": empty})
    assert count_in_last_panel(picture, REFERENCE_COLOUR) > 300
    neither = draw_comparison(image, empty, {"a": empty})
    for colour in (REFERENCE_COLOUR, PREDICTED_COLOUR, MATCHED_COLOUR):
        assert 0 == count_in_last_panel(neither, colour)


def test_comparison_of_a_large_tile_shows_its_cells_in_full_size():
    """Of a tile too large for its panel, the part with the cells is shown, not an empty one."""
    image, reference = make_tile(side=1500)
    picture = draw_comparison(image, reference, {"a": reference})
    assert 3 * (633 + 12) + 12 == open_png(picture).shape[1]
    # Two closed lines of 2 px inside squares of 40 px: 156 + 148 px each.
    assert 2 * 304 == count_in_last_panel(picture, MATCHED_COLOUR)


def test_comparison_refuses_labels_of_another_tile():
    """Labels of another shape, and no prediction at all, are refused."""
    image, reference = make_tile()
    with pytest.raises(LabelsError, match="shape"):
        draw_comparison(image, reference, {"a": reference[1:]})
    with pytest.raises(BadInputError, match="one prediction"):
        draw_comparison(image, reference, {})
    with pytest.raises(BadInputError, match="no tile"):
        draw_comparison_rows([])
