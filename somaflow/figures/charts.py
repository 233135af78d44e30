"""What all charts share: colours, sizes, and places in px.

Enters: sizes and places in px from the upper left corner. Leaves: matplotlib's own figures and
axes. Matplotlib is imported when a chart is drawn, and no window is ever opened.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.scores import OVERALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, FAINT, GRID, GROUND = "#1b1f27", "#5a6270", "#aab1bd", "#e4e7ec", "#ffffff"
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#aa4499"
SKY, ORANGE, BROWN, OLIVE = "#56b4e9", "#e69f00", "#8c510a", "#7a8b00"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BROWN, OLIVE)
"""Colours of series in order, told apart with each of the common kinds of colour blindness."""
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<")
"""Marks of series, so that a print without colour can be read too."""
BASELINE = MUTED

TITLE_PX, TEXT_PX, SMALL_PX = 23, 17, 15
MARGIN_PX = 24
HEADER_PX = 82
_DPI = 100
_METRIC_WORDS = {
    "f1_pooled": "F1 pooled",
    "precision_pooled": "Precision pooled",
    "recall_pooled": "Recall pooled",
    "ap50_pooled": "AP50 pooled",
    "ap50_image_mean": "AP50 image mean",
}
_UNIT_WORDS = {"donor": "donors", "image": "images"}


def metric_words(metric: str) -> str:
    """A metric's name as axis label, its aggregation in it."""
    return _METRIC_WORDS.get(metric, metric.replace("_", " "))


def marker_words(marker: str) -> str:
    """A marker's name as heading; the row over all of them in words."""
    return "all markers" if marker == OVERALL else marker


def order_markers(markers: Iterable[str]) -> list[str]:
    """Each marker once, the row over all of them first, the others as they appear."""
    return sorted(dict.fromkeys(markers), key=lambda marker: marker != OVERALL)


def interval_words(table: pd.DataFrame) -> str:
    """What the intervals are, as far as the table says which unit was resampled."""
    units = table["bootstrap_unit"] if "bootstrap_unit" in table else pd.Series(dtype=str)
    words = [_UNIT_WORDS[unit] for unit in sorted(set(units)) if unit in _UNIT_WORDS]
    return f"95 % interval over {' or '.join(words)}" if words else "95 % interval"


def require_rows(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Refuses a table without the rows or columns that a chart is drawn from.

    Raises:
        ScoringError: if there is no row, or a column is missing.
    """
    missing = [name for name in columns if name not in table]
    if missing or table.empty:
        raise ScoringError(
            f"{what} need at least one row with {', '.join(columns)}, got {len(table)} rows "
            f"without {', '.join(missing) or 'nothing missing'}; pass the table of finished scores"
        )


def new_figure(width_px: float, height_px: float) -> "Figure":
    """An empty figure of this size on light ground."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (round(width_px) / _DPI, round(height_px) / _DPI)
    figure = Figure(figsize=size, dpi=_DPI, facecolor=GROUND)
    FigureCanvasAgg(figure)
    return figure


def add_panel(
    figure: "Figure", left: float, top: float, width: float, height: float, title: str = ""
) -> "Axes":
    """Axes at a place in px from the upper left corner, with a quiet frame and a bold heading."""
    figure_width, figure_height = figure.get_size_inches() * _DPI
    place = (
        left / figure_width,
        1 - (top + height) / figure_height,
        width / figure_width,
        height / figure_height,
    )
    axes = figure.add_axes(place, facecolor=GROUND)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=points(SMALL_PX), length=4)
    axes.set_title(title, loc="left", fontsize=points(TEXT_PX), fontweight="bold", color=INK, pad=8)
    return axes


def label_axes(axes: "Axes", x: str = "", y: str = "") -> None:
    """Labels of both axes, units in them."""
    axes.set_xlabel(x, fontsize=points(SMALL_PX), color=INK, labelpad=6)
    axes.set_ylabel(y, fontsize=points(SMALL_PX), color=INK, labelpad=6)


def write_header(figure: "Figure", title: str, subtitle: str = "") -> None:
    """Title and, below it, what the marks mean; both shortened to the figure's width."""
    width = figure.get_size_inches()[0] * _DPI - 2 * MARGIN_PX
    write(figure, shorten(figure, title, width, TITLE_PX), MARGIN_PX, 28, TITLE_PX, weight="bold")
    subtitle = shorten(figure, subtitle, width, SMALL_PX)
    write(figure, subtitle, MARGIN_PX, 57, SMALL_PX, colour=MUTED)


def write(
    figure: "Figure",
    words: str,
    x: float,
    y: float,
    size_px: float = TEXT_PX,
    colour: str = INK,
    align: str = "left",
    weight: str = "normal",
) -> None:
    """Words at a place in px from the upper left corner, vertically centred on it."""
    width, height = figure.get_size_inches() * _DPI
    figure.text(
        x / width,
        1 - y / height,
        words,
        fontsize=points(size_px),
        color=colour,
        ha=align,
        va="center",
        fontweight=weight,
        parse_math=False,
    )


def points(size_px: float) -> float:
    """A size in px as matplotlib's points."""
    return size_px * 72 / _DPI


def measure_px(figure: "Figure", words: str, size_px: float = TEXT_PX, bold: bool = False) -> float:
    """Width of one line of words, in px."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=points(size_px), weight="bold" if bold else "normal")
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    return float(renderer.get_text_width_height_descent(words, font, False)[0])


def shorten(figure: "Figure", words: str, width_px: float, size_px: float = TEXT_PX) -> str:
    """The words, cut with an ellipsis where they are wider than `width_px` in bold."""
    shown = words
    while len(shown) > 1 and measure_px(figure, shown, size_px, bold=True) > width_px:
        shown = shown.rstrip("…")[:-1].rstrip() + "…"
    return shown


def score_range(values: np.ndarray, step: float = 0.1) -> tuple[float, float]:
    """An axis range for scores: all values, rounded outwards to a step, at most 0 to 1.

    Args:
        values: numbers in 0-1 of any shape; NaN is ignored.
        step: least range, and what both ends are a multiple of.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low = np.floor((known.min() - 0.02) / step) * step
    high = np.ceil((known.max() + 0.02) / step) * step
    return max(0.0, float(low)), min(1.0, float(high))


def format_score(value: float) -> str:
    """A score as people write it, ".84"; a dash where it is undefined."""
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f}".lstrip("0") if 0 <= value < 0.995 else f"{value:.2f}"
