"""Pictures of tiles placed in rows, pixel by pixel, as PNG bytes.

Enters: painted panels with a title and a legend each. Leaves: PNG bytes, equal ones for equal
input. Matplotlib is imported when a picture is drawn, and no window is ever opened.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN_PX, TITLE_PX, LEGEND_PX = 12, 32, 30
HEADING_PX = 40
_FONT_PX, _HEADING_FONT_PX = 15, 22
_DPI = 100
_GROUND = "#14161a"


@dataclass(frozen=True)
class PaintedPanel:
    """A panel ready to be placed."""

    pixels: np.ndarray
    """(h, w, 3) uint8."""
    title: str
    legend: list[tuple[str, str]]
    """Text and colour of each entry."""


@dataclass(frozen=True)
class Row:
    """Panels side by side, under a heading if there is one."""

    panels: Sequence[PaintedPanel]
    heading: str = ""

    @property
    def height_px(self) -> int:
        """Of the tallest panel with its texts, and the heading."""
        tallest = max(panel.pixels.shape[0] for panel in self.panels)
        return tallest + TITLE_PX + LEGEND_PX + (HEADING_PX if self.heading else 0)

    @property
    def width_px(self) -> int:
        """Of all columns, which are as wide as the widest panel, and the margins between them."""
        return len(self.panels) * (self.column_px + MARGIN_PX) - MARGIN_PX

    @property
    def column_px(self) -> int:
        """Of the widest panel."""
        return max(panel.pixels.shape[1] for panel in self.panels)


def draw_rows(rows: Sequence[Row], font_px: int = _FONT_PX) -> bytes:
    """A PNG of the rows, one below the other, with title above and legend below each panel.

    Args:
        rows: each with at least one panel.
        font_px: size of titles and legends.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(row.width_px for row in rows) + 2 * MARGIN_PX
    height = sum(row.height_px + MARGIN_PX for row in rows) + MARGIN_PX
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_GROUND)
    FigureCanvasAgg(figure)
    top = height - MARGIN_PX
    for row in rows:
        _place_row(figure, row, top, font_px)
        top -= row.height_px + MARGIN_PX
    content = io.BytesIO()
    # Without the version of matplotlib in the file, equal input gives equal bytes.
    figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    return content.getvalue()


def _place_row(figure: "Figure", row: Row, top: int, font_px: int) -> None:
    """Puts a row's upper edge at `top`, in px from the figure's lower edge."""
    if row.heading:
        _write(figure, row.heading, MARGIN_PX, top - HEADING_PX / 2, "white", _HEADING_FONT_PX)
        top -= HEADING_PX
    for column, panel in enumerate(row.panels):
        _place(figure, panel, MARGIN_PX + column * (row.column_px + MARGIN_PX), top, font_px)


def _place(figure: "Figure", panel: PaintedPanel, left: int, top: int, font_px: int) -> None:
    """Puts a panel at its upper left corner, in px from the figure's lower left."""
    _write(figure, panel.title, left, top - TITLE_PX / 2, "white", font_px)
    bottom = top - TITLE_PX - panel.pixels.shape[0]
    figure.figimage(panel.pixels, left, bottom, origin="upper")
    x = float(left)
    for words, colour in panel.legend:
        _write(figure, words, x, bottom - LEGEND_PX / 2, colour, font_px)
        x += 0.56 * font_px * len(words) + font_px


def _write(figure: "Figure", words: str, x: float, y: float, colour: str, size_px: float) -> None:
    width, height = figure.get_size_inches() * _DPI
    figure.text(
        x / width, y / height, words, color=colour, fontsize=size_px * 72 / _DPI, va="center"
    )
