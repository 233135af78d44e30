"""Pictures of tiles with the outlines of their cells, as PNG bytes for reports and dashboards.

Enters: images (2, Y, X) and labels (Y, X). Leaves: PNG bytes. Refuses labels of another shape than
their image. Matplotlib is imported when a picture is drawn, and no window is ever opened.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from somaflow.errors import BadInputError, LabelsError, TileError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Panel = tuple[np.ndarray, np.ndarray, np.ndarray | None, str]
"""Image, predicted labels, reference labels or None, title: the arguments of `draw_overlay`."""

PREDICTED_COLOUR = (255, 176, 0)
REFERENCE_COLOUR = (255, 64, 255)
# DAPI may not hide the marker, nor the outlines: a blue that leaves red free, and grey.
_DAPI_TINT = np.array([0.16, 0.38, 1.0])
_MARKER_TINT = np.array([0.80, 0.88, 0.80])
_STRETCH_PERCENT = (1.0, 99.8)
# A line of one px vanishes on ground of its own brightness without darker pixels beside it.
_CASING_BRIGHTNESS = 0.35
_LONG_SIDE_PX = (1000, 2000)
_GRID_SIDE_PX = 640
_MAX_GRID_COLUMNS = 3
_MARGIN_PX, _TITLE_PX, _LEGEND_PX = 12, 32, 30
_FONT_PX = 15
_DPI = 100
_GROUND = "#14161a"


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
    return _draw([_render((image, labels, reference, title), side)], n_columns=1)


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
    n_columns = min(len(panels), _MAX_GRID_COLUMNS)
    return _draw([_render(panel, _GRID_SIDE_PX) for panel in panels], n_columns)


@dataclass(frozen=True)
class _Rendered:
    """A panel ready to be placed."""

    pixels: np.ndarray
    """(h, w, 3) uint8."""
    title: str
    legend: list[tuple[str, str]]
    """Text and colour of each entry."""


def _render(panel: Panel, side: int) -> _Rendered:
    image, labels, reference, title = panel
    _check(image, labels, reference, title)
    height, width = image.shape[1:]
    scale = side / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    pixels, channel_words = _compose(image, shape)
    outlines = []
    legend = [(f"\N{BLACK SQUARE} predicted: {_count(labels)} cells", _hex(PREDICTED_COLOUR))]
    if reference is not None:
        outlines.append((_trace(_resize_labels(reference, shape), False), REFERENCE_COLOUR))
        legend.append(
            (f"\N{BLACK SQUARE} reference: {_count(reference)} cells", _hex(REFERENCE_COLOUR))
        )
    # Predicted last: it is what the picture is about.
    outlines.append((_trace(_resize_labels(labels, shape), True), PREDICTED_COLOUR))
    legend.append((channel_words, "#b8bec8"))
    return _Rendered(_paint(pixels, outlines), title, legend)


def _check(image: np.ndarray, labels: np.ndarray, reference: np.ndarray | None, title: str) -> None:
    if image.ndim != 3 or len(image) != 2:
        raise TileError(
            f"an image to draw must be (2, Y, X), DAPI and marker, got {image.shape} ({title}); "
            "pass zeros for an absent channel"
        )
    for name, array in (("predicted", labels), ("reference", reference)):
        if array is not None and (array.shape != image.shape[1:] or array.dtype.kind not in "ui"):
            raise LabelsError(
                f"{name} labels must be integers of the image's shape {image.shape[1:]}, got "
                f"{array.shape} {array.dtype} ({title}); pass the labels of this tile"
            )


def _compose(image: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, str]:
    """(h, w, 3) float32 in 0-1 at the wanted size, and which channel has which colour."""
    dapi, marker = (_resize_image(_stretch(plane), shape) for plane in image)
    present = [float(plane.max()) > float(plane.min()) for plane in image]
    if present == [True, False]:
        return np.repeat(dapi[:, :, None], 3, axis=2), "DAPI grey, no marker"
    if present == [False, True]:
        return np.repeat(marker[:, :, None], 3, axis=2), "marker grey, no DAPI"
    mixed = dapi[:, :, None] * _DAPI_TINT + marker[:, :, None] * _MARKER_TINT
    return np.clip(mixed, 0, 1).astype(np.float32), "DAPI blue, marker grey"


def _stretch(plane: np.ndarray) -> np.ndarray:
    """The plane as float32 in 0-1, its darkest and brightest pixels clipped."""
    plane = np.nan_to_num(plane.astype(np.float32))
    low, high = np.percentile(plane, _STRETCH_PERCENT)
    if high <= low:
        low, high = float(plane.min()), float(plane.max())
    return np.clip((plane - low) / max(high - low, 1e-12), 0, 1).astype(np.float32)


def _resize_image(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if plane.shape == shape:
        return plane
    method = Image.Resampling.BICUBIC if shape[0] > plane.shape[0] else Image.Resampling.BOX
    resized = Image.fromarray(plane, mode="F").resize(shape[::-1], method)
    return np.clip(np.asarray(resized), 0, 1)


def _resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour, so that ids stay ids."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(shape, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def _trace(labels: np.ndarray, inside: bool) -> np.ndarray:
    """(h, w) bool: a closed line of one px just inside, or just outside, every cell.

    Where two cells touch, the line outside is drawn once, on the side of the lower id.
    """
    padded = np.pad(labels, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    line = np.zeros(labels.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        neighbour = padded[dy : dy + labels.shape[0], dx : dx + labels.shape[1]]
        line |= (centre > 0) & (neighbour != centre) if inside else neighbour > centre
    return line


def _paint(
    pixels: np.ndarray, outlines: Sequence[tuple[np.ndarray, tuple[int, int, int]]]
) -> np.ndarray:
    """(h, w, 3) uint8: the outlines, in order, on the image, with darkened pixels beside them."""
    painted = (pixels * 255).round().astype(np.uint8)
    lines = np.logical_or.reduce([line for line, _ in outlines])
    padded = np.pad(lines, 1)
    beside = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    beside &= ~lines
    painted[beside] = (painted[beside] * _CASING_BRIGHTNESS).astype(np.uint8)
    for line, colour in outlines:
        painted[line] = colour
    return painted


def _count(labels: np.ndarray) -> int:
    return int(np.count_nonzero(np.unique(labels)))


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _draw(panels: Sequence[_Rendered], n_columns: int) -> bytes:
    """Places the panels in rows, pixel by pixel, with title above and legend below each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_rows = math.ceil(len(panels) / n_columns)
    cell_height = max(panel.pixels.shape[0] for panel in panels) + _TITLE_PX + _LEGEND_PX
    cell_width = max(panel.pixels.shape[1] for panel in panels)
    height = n_rows * (cell_height + _MARGIN_PX) + _MARGIN_PX
    width = n_columns * (cell_width + _MARGIN_PX) + _MARGIN_PX
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_GROUND)
    FigureCanvasAgg(figure)
    for index, panel in enumerate(panels):
        row, column = divmod(index, n_columns)
        left = _MARGIN_PX + column * (cell_width + _MARGIN_PX)
        top = height - _MARGIN_PX - row * (cell_height + _MARGIN_PX)
        _place(figure, panel, left, top)
    content = io.BytesIO()
    # Without the version of matplotlib in the file, equal input gives equal bytes.
    figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    return content.getvalue()


def _place(figure: "Figure", panel: _Rendered, left: int, top: int) -> None:
    """Puts a panel at its upper left corner, in px from the figure's lower left."""
    panel_height = panel.pixels.shape[0]
    width, height = figure.get_size_inches() * _DPI
    size = _FONT_PX * 72 / _DPI
    title_y = (top - _TITLE_PX / 2) / height
    figure.text(left / width, title_y, panel.title, color="white", fontsize=size, va="center")
    bottom = top - _TITLE_PX - panel_height
    figure.figimage(panel.pixels, left, bottom, origin="upper")
    x = float(left)
    legend_y = (bottom - _LEGEND_PX / 2) / height
    for words, colour in panel.legend:
        figure.text(x / width, legend_y, words, color=colour, fontsize=size, va="center")
        x += 0.56 * _FONT_PX * len(words) + _FONT_PX
