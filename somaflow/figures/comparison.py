"""What each recipe found in a tile, beside image and reference, right and wrong told apart.

Enters: images (2, Y, X), reference labels and labels of each recipe (Y, X). Leaves: PNG bytes.
Refuses labels of another shape than their image, and no prediction at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from somaflow.errors import BadInputError
from somaflow.evaluation.matching import match_cells
from somaflow.evaluation.overlaps import find_overlaps
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

ComparisonRow = tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray], str]
"""Image, reference labels, labels by recipe, title: the arguments of `draw_comparison`."""

MATCHED_COLOUR = (64, 224, 255)
"""Of predicted cells that are right; wrong ones have the colour of predictions, missed ones that
of the reference."""
_PICTURE_PX = 1900
# Below the least side the counts under a panel would not fit.
_SIDE_PX = (440, 640)
_FONT_PX = 17
# A whole tile of the study would be shrunk to a third, and its smallest cells to five px.
_LEAST_SCALE = 0.8
_DASH_PX = (5, 3)
_TEXT_COLOUR, _CHANNELS_COLOUR = "#ffffff", "#b8bec8"
_PX_PER_LETTER = 10


@dataclass(frozen=True)
class _View:
    """Which part of a tile is shown, and how large."""

    shape: tuple[int, int]
    """Of the whole tile on the screen."""
    top: int
    left: int
    height: int
    width: int

    def crop(self, array: np.ndarray) -> np.ndarray:
        """The part shown of a whole tile on the screen."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]

    @property
    def is_part(self) -> bool:
        return (self.height, self.width) != self.shape


def draw_comparison(
    image: np.ndarray,
    reference: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    title: str = "",
    iou_threshold: float = 0.5,
) -> bytes:
    """A PNG of one tile in a row: the image alone, its reference, then what each recipe found.

    Outlines of right cells (TP) are light blue, of wrong ones (FP) amber, of missed ones (FN)
    magenta and dashed; below are their counts and F1 in the whole tile. Of a tile that would have
    to be shrunk much, the part with the most reference cells is shown.

    Args:
        image: (2, Y, X) numbers, DAPI and marker.
        reference: (Y, X) integers, 0 = background.
        predictions: (Y, X) integers, 0 = background, by name, in order.
        title: one line above the row.
        iou_threshold: smallest IoU of a right cell, in (0, 1].

    Raises:
        BadInputError: if there is no prediction.
        TileError: if the image is not (2, Y, X).
        LabelsError: if labels and image differ in shape.
    """
    return draw_comparison_rows([(image, reference, predictions, title)], iou_threshold)


def draw_comparison_rows(rows: Sequence[ComparisonRow], iou_threshold: float = 0.5) -> bytes:
    """A PNG with a row a tile, each as `draw_comparison` draws it.

    Args:
        rows: image, reference, predictions and title of each tile.
        iou_threshold: smallest IoU of a right cell, in (0, 1].

    Raises:
        BadInputError: if there is no row, or a row without a prediction.
        TileError: if an image is not (2, Y, X).
        LabelsError: if labels and image differ in shape.
    """
    empty = [title for _, _, predictions, title in rows if not predictions]
    if not rows or empty:
        raise BadInputError(
            "a comparison needs at least one tile with one prediction, got "
            f"{f'none for {empty[0]!r}' if empty else 'no tile'}; pass labels by recipe"
        )
    n_columns = 2 + max(len(predictions) for _, _, predictions, _ in rows)
    side = int(np.clip(_PICTURE_PX // n_columns, *_SIDE_PX))
    return draw_rows([_paint_row(row, side, iou_threshold) for row in rows], _FONT_PX)


def _paint_row(row: ComparisonRow, side: int, iou_threshold: float) -> Row:
    image, reference, predictions, title = row
    for labels in predictions.values():
        check_panel(image, labels, reference, title)
    view = _choose_view(reference, side)
    pixels, channel_words = compose_image(image, view.shape)
    pixels = view.crop(pixels)
    on_screen = view.crop(resize_labels(reference, view.shape))
    bare = (pixels * 255).round().astype(np.uint8)
    lines = [(_line(on_screen), REFERENCE_COLOUR)]
    panels = [
        PaintedPanel(bare, "image", [(channel_words, _CHANNELS_COLOUR)]),
        PaintedPanel(
            paint_outlines(pixels, lines),
            "reference",
            [(f"\N{BLACK SQUARE} {count_cells(reference)} cells", hex_colour(REFERENCE_COLOUR))],
        ),
    ]
    for name, labels in predictions.items():
        panels.append(_paint_prediction(pixels, view, reference, labels, name, iou_threshold))
    if view.is_part:
        title += f"   ({view.width} × {view.height} px of it; counts are of the whole tile)"
    return Row(panels, title.strip() or "tile")


def _choose_view(reference: np.ndarray, side: int) -> _View:
    """The whole tile where it fits, otherwise a square of one screen px per px, full of cells."""
    height, width = reference.shape
    scale = side / max(height, width)
    if scale >= _LEAST_SCALE:
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        return _View(shape, 0, 0, *shape)
    window = min(side, height), min(side, width)
    top, left = _densest_place(reference, window)
    return _View((height, width), top, left, *window)


def _densest_place(reference: np.ndarray, window: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner of the window with the most labelled px; the first of equal ones."""
    sums = np.zeros((reference.shape[0] + 1, reference.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = (reference > 0).cumsum(axis=0).cumsum(axis=1)
    height, width = window
    inside = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
        + sums[:-height, :-width]
    )  # fmt: skip
    top, left = np.unravel_index(np.argmax(inside), inside.shape)
    return int(top), int(left)


def _paint_prediction(
    pixels: np.ndarray,
    view: _View,
    reference: np.ndarray,
    labels: np.ndarray,
    name: str,
    iou_threshold: float,
) -> PaintedPanel:
    missed, wrong, right = _classify(reference, labels, iou_threshold)
    lines = [
        (_line(_select(reference, missed, view)) & _dashes(pixels.shape[:2]), REFERENCE_COLOUR),
        (_line(_select(labels, wrong, view)), PREDICTED_COLOUR),
        (_line(_select(labels, right, view)), MATCHED_COLOUR),
    ]
    tp, fp, fn = right.size, wrong.size, missed.size
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0
    square = "\N{BLACK SQUARE}"
    legend = [
        (f"{square} {tp} right", hex_colour(MATCHED_COLOUR)),
        (f"{square} {fp} wrong", hex_colour(PREDICTED_COLOUR)),
        (f"{square} {fn} missed", hex_colour(REFERENCE_COLOUR)),
        (f"F1 {f1:.2f}", _TEXT_COLOUR),
    ]
    longest = pixels.shape[1] // _PX_PER_LETTER
    title = name if len(name) <= longest else name[: longest - 1] + "…"
    return PaintedPanel(paint_outlines(pixels, lines), title, legend)


def _classify(
    reference: np.ndarray, labels: np.ndarray, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids of missed reference cells, of wrong and of right predicted cells."""
    overlaps = find_overlaps(reference, labels)
    edges = overlaps.iou >= iou_threshold
    a, b = overlaps.reference[edges], overlaps.predicted[edges]
    found = match_cells(a, b, overlaps.reference_ids.size)
    right = match_cells(b, a, overlaps.predicted_ids.size)
    predicted_ids = overlaps.predicted_ids
    return overlaps.reference_ids[~found], predicted_ids[~right], predicted_ids[right]


def _select(labels: np.ndarray, ids: np.ndarray, view: _View) -> np.ndarray:
    """The labels of some cells alone, as they are on the screen."""
    shown = view.crop(resize_labels(labels, view.shape))
    return np.where(np.isin(shown, ids), shown, 0)


def _line(labels: np.ndarray) -> np.ndarray:
    """(h, w) bool: two px inside every cell, so that they show in a picture shrunk to half."""
    outer = trace_outlines(labels, inside=True)
    return outer | trace_outlines(np.where(outer, 0, labels), inside=True)


def _dashes(shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: which px of a line are drawn for it to look dashed."""
    drawn, gap = _DASH_PX
    y, x = np.indices(shape)
    return (x + y) % (drawn + gap) < drawn
