"""Pictures of tiles with the outlines of their cells, as PNG bytes for reports and dashboards.

Enters: images (2, Y, X) and labels (Y, X). Leaves: PNG bytes. Refuses labels of another shape than
their image. Matplotlib is imported when a picture is drawn, and no window is ever opened.
"""

from collections.abc import Sequence

import numpy as np

from somaflow.errors import BadInputError
from somaflow.figures.layout import PaintedPanel, Row, draw_rows
from somaflow.figures.painting import (
    PREDICTED_COLOUR,
    REFERENCE_COLOUR,
    check_panel,
    compose_image,
    count_cells,
    hex_colour,
    paint_outlines,
    resize_labels,
    trace_outlines,
)

Panel = tuple[np.ndarray, np.ndarray, np.ndarray | None, str]
"""Image, predicted labels, reference labels or None, title: the arguments of `draw_overlay`."""

_LONG_SIDE_PX = (1000, 2000)
_GRID_SIDE_PX = 640
_MAX_GRID_COLUMNS = 3


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, reference: np.ndarray | None = None, title: str = ""
) -> bytes:
    """A PNG of one tile: DAPI blue, marker grey, outlines of predicted and reference cells.

    Predicted outlines (amber) run just inside the cells, reference outlines (magenta) just outside,
    so that both show where they agree. The picture has one screen px per image px, enlarged to
    1000 px on the long side if it is smaller.

    Args:
        image: (2, Y, X) numbers, DAPI and marker; an absent channel is constant, and the other one
            is then shown in grey.
        labels: (Y, X) integers, 0 = background.
        reference: (Y, X) integers, 0 = background, or None.
        title: one line above the picture.

    Raises:
        TileError: if the image is not (2, Y, X).
        LabelsError: if labels and image differ in shape.
    """
    long_side = max(np.shape(image)[-2:], default=0)
    side = int(np.clip(long_side, *_LONG_SIDE_PX))
    return draw_rows([Row([_render((image, labels, reference, title), side)])])


def draw_overlay_grid(panels: Sequence[Panel]) -> bytes:
    """A PNG of several tiles side by side, up to three in a row, each 640 px on its long side.

    Args:
        panels: image, labels, reference or None, title of each, as for `draw_overlay`.

    Raises:
        BadInputError: if there is no panel.
        TileError: if an image is not (2, Y, X).
        LabelsError: if labels and image differ in shape.
    """
    if not panels:
        raise BadInputError("a grid of overlays needs at least one panel, got none; pass tiles")
    painted = [_render(panel, _GRID_SIDE_PX) for panel in panels]
    starts = range(0, len(painted), _MAX_GRID_COLUMNS)
    return draw_rows([Row(painted[start : start + _MAX_GRID_COLUMNS]) for start in starts])


def _render(panel: Panel, side: int) -> PaintedPanel:
    image, labels, reference, title = panel
    check_panel(image, labels, reference, title)
    height, width = image.shape[1:]
    scale = side / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    pixels, channel_words = compose_image(image, shape)
    outlines = []
    legend = [
        (f"\N{BLACK SQUARE} predicted: {count_cells(labels)} cells", hex_colour(PREDICTED_COLOUR))
    ]
    if reference is not None:
        outlines.append((trace_outlines(resize_labels(reference, shape), False), REFERENCE_COLOUR))
        legend.append(
            (
                f"\N{BLACK SQUARE} reference: {count_cells(reference)} cells",
                hex_colour(REFERENCE_COLOUR),
            )
        )
    # Predicted last: it is what the picture is about.
    outlines.append((trace_outlines(resize_labels(labels, shape), True), PREDICTED_COLOUR))
    legend.append((channel_words, "#b8bec8"))
    return PaintedPanel(paint_outlines(pixels, outlines), title, legend)
