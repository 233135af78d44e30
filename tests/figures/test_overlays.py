"""Overlay pictures."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from somaflow.errors import BadInputError, LabelsError, TileError
from somaflow.figures import (
    PREDICTED_COLOUR,
    REFERENCE_COLOUR,
    draw_overlay,
    draw_overlay_grid,
)

SHAPE = (1000, 1200)


def make_image(shape=SHAPE, level=None):
    """(2, Y, X) uint8: a ramp in each channel, or one level with a dark and a bright px."""
    if level is None:
        ramp = np.linspace(0, 255, shape[1]).astype(np.uint8)
        return np.stack([np.tile(ramp, (shape[0], 1)), np.tile(ramp[::-1], (shape[0], 1))])
    image = np.full((2, *shape), level, np.uint8)
    image[:, 0, 0], image[:, 0, 1] = 0, 255
    return image


def make_labels(top=300, shape=SHAPE):
    """(Y, X) int32: one cell of 100 x 100 px."""
    labels = np.zeros(shape, np.int32)
    labels[top : top + 100, 400:500] = 1
    return labels


def open_png(content):
    """(h, w, 3) uint8 of a PNG."""
    assert content.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def count_px(picture, colour):
    """Pixels of exactly this colour, without title and legend."""
    return int((picture[40:-45] == colour).all(axis=2).sum())


@pytest.mark.parametrize(
    ("shape", "expected"), [((1000, 1200), (1000, 1200)), ((256, 128), (1000, 500))]
)
def test_overlay_shows_the_whole_image_at_screen_size(shape, expected):
    """Large images keep their px, small ones grow to 1000 px; margins and texts are added."""
    height, width, _ = open_png(
        draw_overlay(make_image(shape), np.zeros(shape, np.uint16), title="tile")
    ).shape
    assert (expected[0] + 86, expected[1] + 24) == (height, width)


def test_overlay_draws_the_outline_just_inside_the_cell():
    """A square of 100 px has 396 px of outline, in the colour of predictions."""
    picture = open_png(draw_overlay(make_image(), make_labels()))
    assert 396 == count_px(picture, PREDICTED_COLOUR)
    assert 0 == count_px(picture, REFERENCE_COLOUR)


def test_overlay_shows_both_outlines_where_they_agree():
    """An equal reference is drawn around the prediction, not under it."""
    labels = make_labels()
    picture = open_png(draw_overlay(make_image(), labels, reference=labels))
    assert 396 == count_px(picture, PREDICTED_COLOUR)
    assert 400 == count_px(picture, REFERENCE_COLOUR)


@pytest.mark.parametrize("level", [1, 128, 254])
def test_overlay_outline_stands_out_on_any_ground(level):
    """On dark, grey and bright ground the line differs from what lies right beside it."""
    picture = open_png(draw_overlay(make_image(level=level), make_labels())).astype(int)
    line = (picture == PREDICTED_COLOUR).all(axis=2)
    line[:40] = line[-45:] = False
    rows, columns = np.nonzero(line)
    top = rows.min()
    beside = picture[top - 1, columns[rows == top]]
    assert np.abs(beside - PREDICTED_COLOUR).sum(axis=1).min() > 150


def test_overlay_changes_with_labels_reference_and_title():
    """Each of the inputs shows, and equal inputs give equal bytes."""
    image, labels = make_image(), make_labels()
    pictures = [
        draw_overlay(image, labels),
        draw_overlay(image, make_labels(top=301)),
        draw_overlay(image, labels, reference=labels),
        draw_overlay(image, labels, title="tile 7"),
        draw_overlay(image[::-1], labels),
    ]
    assert len(pictures) == len(set(pictures))
    assert pictures[0] == draw_overlay(image, labels)


def test_overlay_of_no_cells_shows_the_image_alone():
    """Empty labels draw no outline, on the image or anywhere else."""
    empty = np.zeros(SHAPE, np.uint16)
    picture = open_png(draw_overlay(make_image(), empty, reference=empty))
    assert 0 == count_px(picture, PREDICTED_COLOUR) + count_px(picture, REFERENCE_COLOUR)


def test_overlay_shows_a_single_channel_in_grey():
    """An absent marker leaves no blue picture, and an absent pixel range no error."""
    image = make_image()
    image[1] = 0
    picture = open_png(draw_overlay(image, np.zeros(SHAPE, np.uint16)))[50:-50, 20:-20]
    assert (picture == picture[:, :, :1]).all()
    assert picture.max() > 250
    assert open_png(draw_overlay(np.zeros((2, *SHAPE)), make_labels())).any()


def test_overlay_leaves_its_inputs_alone():
    """Neither image nor labels are changed by drawing them."""
    image, labels = make_image(), make_labels()
    before = image.copy(), labels.copy()
    draw_overlay(image, labels, labels)
    np.testing.assert_array_equal(before[0], image)
    np.testing.assert_array_equal(before[1], labels)


def test_overlay_refuses_labels_of_another_image():
    """Shape or type that cannot be labels of the image is refused, naming the tile."""
    with pytest.raises(LabelsError, match=r"predicted labels.*tile 7"):
        draw_overlay(make_image(), make_labels(shape=(1000, 1000)), title="tile 7")
    with pytest.raises(LabelsError, match="reference labels"):
        draw_overlay(make_image(), make_labels(), make_labels().astype(float))
    with pytest.raises(TileError, match=r"\(2, Y, X\)"):
        draw_overlay(make_image()[0], make_labels())


def test_grid_places_panels_in_rows_of_three():
    """Four panels make two rows of three columns, each panel 640 px on its long side."""
    panel = (make_image((320, 320)), make_labels(100, (320, 320)), None, "one")
    height, width, _ = open_png(draw_overlay_grid([panel] * 4)).shape
    assert (2 * (640 + 62 + 12) + 12, 3 * (640 + 12) + 12) == (height, width)
    assert 640 + 24 == open_png(draw_overlay_grid([panel])).shape[1]


def test_grid_refuses_no_panels():
    """An empty grid is refused rather than drawn as nothing."""
    with pytest.raises(BadInputError, match="at least one panel"):
        draw_overlay_grid([])


def test_importing_figures_does_not_import_matplotlib():
    """The import stays cheap, and nothing of pyplot's global state is ever loaded."""
    code = (
        "import sys, numpy as np, somaflow.figures as figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figures.draw_overlay(np.zeros((2, 32, 32)), np.zeros((32, 32), int))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
