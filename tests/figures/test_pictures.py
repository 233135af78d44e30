"""Finished figures in both of their forms."""

import pickle

from somaflow.figures import draw_gate_effect, draw_recipe_scores
from somaflow.figures.pictures import Picture, wrap_png
from tests.figures.tables import gate_scores, open_png, recipe_scores, removed_cells


def test_figure_is_a_png_and_a_pdf():
    """One drawing gives both, and equal input repeats both."""
    first, second = (draw_gate_effect(removed_cells(), gate_scores()) for _ in range(2))
    assert first.startswith(b"\x89PNG")
    assert first.pdf.startswith(b"%PDF")
    assert (bytes(first), first.pdf) == (bytes(second), second.pdf)


def test_pdf_tells_no_date_and_keeps_its_fonts():
    """The file holds no time of making, and fonts that can be edited (TrueType)."""
    pdf = draw_recipe_scores(recipe_scores(["baseline", "generic"])).pdf
    assert b"CreationDate" not in pdf
    assert b"/Type3" not in pdf
    assert b"/CIDFontType2" in pdf


def test_picture_survives_a_process_border():
    """What a worker drew arrives with its PDF."""
    picture = pickle.loads(pickle.dumps(Picture(b"png", b"pdf")))  # noqa: S301
    assert (b"png", b"pdf") == (bytes(picture), picture.pdf)


def test_pixels_are_wrapped_alike():
    """A finished PNG becomes one page, equal for equal bytes."""
    png = bytes(draw_recipe_scores(recipe_scores(["baseline"])))
    assert open_png(png).size > 0
    assert wrap_png(png).startswith(b"%PDF")
    assert wrap_png(png) == wrap_png(png)
