"""Scores of recipes side by side, a column a marker.

Enters: a table of scores, a row a recipe, split and marker. Leaves: PNG bytes. Refuses: a split
that was not scored.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_PX = (1000, 1400)
_ROW_PX, _LEAST_HEIGHT_PX = 38, 90
_NAMES_PX = 330
_NUMBER_PX, _GAP_PX = 52, 14
_WIDEST_COLUMN_PX = 440


def draw_recipe_scores(
    table: pd.DataFrame,
    metric: str = "f1_pooled",
    split: str = "test",
    baseline: str | None = None,
) -> Picture:
    """A PNG with a row a recipe and a column a marker: a dot with its interval, and its number.

    The baseline is grey, and a dashed line carries it down each column; the best of the others in
    a column has a bold number and a filled dot of another colour. All columns have one scale.

    Args:
        table: columns recipe, split, marker ("all" for all of them) and `metric` with `_low` and
            `_high`; NaN intervals leave the dot alone. Recipes are shown in the table's order.
        metric: column to show.
        split: rows to show.
        baseline: a recipe of the table; if not given, the one called baseline, or the first.

    Raises:
        ScoringError: if there is no row of this split, a column is missing, or the baseline has
            no row.
    """
    columns = [metric, f"{metric}_low", f"{metric}_high"]
    charts.require_rows(table, ["recipe", "split", "marker", *columns], "scores of recipes to draw")
    shown = table[table["split"] == split]
    charts.require_rows(shown, ["recipe"], f"scores of recipes on {split} to draw")
    recipes = list(dict.fromkeys(shown["recipe"]))
    baseline = baseline or ("baseline" if "baseline" in recipes else recipes[0])
    if baseline not in recipes:
        raise ScoringError(
            f"the baseline must be one of the recipes drawn, got {baseline!r} among "
            f"{', '.join(recipes)}; pass one of these"
        )
    recipes = [baseline, *(name for name in recipes if name != baseline)]
    markers = charts.order_markers(shown["marker"])
    height = max(len(recipes) * _ROW_PX, _LEAST_HEIGHT_PX)
    least, most = _WIDTH_PX
    figure_width = min(max(_NAMES_PX + len(markers) * _WIDEST_COLUMN_PX, least), most)
    bars = f"; bar: {charts.interval_words(shown)}" if shown[columns[1]].notna().any() else ""
    figure = charts.new_figure(figure_width, charts.HEADER_PX + 30 + height + 70)
    charts.write_header(
        figure,
        f"{charts.metric_words(metric)} by recipe, {split} split",
        f"Dot: score on all {split} images{bars}. Dashed: {baseline}. Bold: best in its column.",
    )
    longest = max(charts.measure_px(figure, name, charts.TEXT_PX, bold=True) for name in recipes)
    left = charts.MARGIN_PX + min(longest, _NAMES_PX) + 18
    cell = (figure_width - charts.MARGIN_PX - left) / len(markers)
    width = cell - _NUMBER_PX - _GAP_PX
    limits = charts.score_range(shown[columns].to_numpy(dtype=np.float64))
    for place, marker in enumerate(markers):
        axes = charts.add_panel(
            figure,
            left + place * cell,
            charts.HEADER_PX + 30,
            width,
            height,
            charts.marker_words(marker),
        )
        own = shown[shown["marker"] == marker].set_index("recipe")[columns].reindex(recipes)
        _draw_column(axes, own.to_numpy(dtype=np.float64), limits)
        charts.label_axes(axes, x=charts.metric_words(metric))
        axes.set_yticks(range(len(recipes)), [""] * len(recipes))
        if place == 0:
            names = [charts.shorten(figure, name, _NAMES_PX, charts.TEXT_PX) for name in recipes]
            axes.set_yticks(range(len(recipes)), names, fontsize=charts.points(charts.TEXT_PX))
            axes.get_yticklabels()[0].set_color(charts.BASELINE)
    return render(figure)


def _draw_column(axes: "Axes", scores: np.ndarray, limits: tuple[float, float]) -> None:
    """Dots, intervals and numbers of one marker; scores is (R, 3): value, low, high."""
    best = _best(scores[:, 0])
    axes.set_xlim(limits)
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, pad=10)
    step = 0.1 if limits[1] - limits[0] < 0.45 else 0.2
    axes.set_xticks(np.arange(np.ceil(limits[0] / step - 1e-9), limits[1] / step + 1e-9) * step)
    axes.grid(axis="x", color=charts.GRID, linewidth=1)
    for row in range(1, len(scores), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f6f7f9", zorder=0)
    if np.isfinite(scores[0, 0]):
        axes.axvline(
            scores[0, 0], color=charts.FAINT, linestyle=(0, (4, 3)), linewidth=1.6, zorder=1
        )
    for row, (value, low, high) in enumerate(scores):
        colour = charts.BASELINE if row == 0 else charts.VERMILLION if row == best else charts.BLUE
        if np.isfinite(low) and np.isfinite(high):
            axes.plot([low, high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(
            [value],
            [row],
            marker="s" if row == 0 else "o",
            markersize=charts.points(10),
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.8,
        )
        axes.text(
            1.0,
            row,
            "  " + charts.format_score(value),
            transform=axes.get_yaxis_transform(),
            fontsize=charts.points(charts.SMALL_PX),
            fontweight="bold" if row == best else "normal",
            color=charts.MUTED if row == 0 else charts.INK,
            va="center",
        )


def _best(values: np.ndarray) -> int:
    """Row of the best recipe besides the baseline (row 0), -1 where there is none."""
    others = np.where(np.isfinite(values[1:]), values[1:], -np.inf)
    return int(np.argmax(others)) + 1 if others.size and np.isfinite(others).any() else -1
