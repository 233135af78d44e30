"""Precision against recall of all thresholds, with the chosen ones.

Enters: the tables of `evaluation.operating_points`. Leaves: PNG bytes. Refuses: tables without
scores.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = ("recipe", "marker", "precision_pooled", "recall_pooled")
_WIDTH_PX = (1000, 1300)
_WIDEST_SIDE_PX = 560
_MAX_COLUMNS = 3
_TITLE_PX, _AXIS_PX, _LEFT_PX = 34, 72, 58
_ISO_F1 = (0.2, 0.4, 0.6, 0.8, 0.9)
_POINT_MARKS = {"best-f1": ("*", 20), "precise": ("D", 10)}
_POINT_WORDS = {"best-f1": "best F1", "precise": "best precision at the required recall"}
_LEGEND_ROW_PX = 28
_LEGEND_COLUMNS = 4


def draw_precision_recall(pooled: pd.DataFrame, chosen: pd.DataFrame | None = None) -> Picture:
    """A PNG with a panel a marker: precision against recall of every setting, by recipe.

    Grey curves join equal F1. The two operating points of each recipe are a star and a diamond.

    Args:
        pooled: from `pooled_settings`: a row a recipe, marker ("all" for all of them) and setting.
        chosen: from `choose_operating_points`, or None.

    Raises:
        ScoringError: if there is no row, or a column is missing.
    """
    charts.require_rows(pooled, _COLUMNS, "precision and recall to draw")
    recipes = list(dict.fromkeys(pooled["recipe"]))
    markers = charts.order_markers(pooled["marker"])
    n_columns = min(len(markers), _MAX_COLUMNS)
    n_rows = -(-len(markers) // n_columns)
    least, most = _WIDTH_PX
    beside = _LEFT_PX + charts.MARGIN_PX
    cell_width = min((most - charts.MARGIN_PX) / n_columns, _WIDEST_SIDE_PX + beside)
    side = cell_width - beside
    width = max(least, charts.MARGIN_PX + n_columns * cell_width)
    cell_height = _TITLE_PX + side + _AXIS_PX
    marked = [] if chosen is None else [str(point) for point in dict.fromkeys(chosen["point"])]
    n_legend_rows = -(-len(recipes) // _LEGEND_COLUMNS) + bool(marked)
    figure = charts.new_figure(
        width, charts.HEADER_PX + n_rows * cell_height + n_legend_rows * _LEGEND_ROW_PX + 16
    )
    split = f", {pooled['split'].iloc[0]} split" if "split" in pooled else ""
    charts.write_header(
        figure,
        f"Precision and recall pooled, every threshold setting{split}",
        f"Each small mark is one setting of flow, cellprob and size ({_n_settings(pooled)} a "
        "recipe). Grey curves: equal F1.",
    )
    limits = [charts.score_range(pooled[name].to_numpy(float), 0.2) for name in _COLUMNS[:1:-1]]
    for place, marker in enumerate(markers):
        row, column = divmod(place, n_columns)
        axes = charts.add_panel(
            figure,
            charts.MARGIN_PX + _LEFT_PX + column * cell_width,
            charts.HEADER_PX + _TITLE_PX + row * cell_height,
            side,
            side,
            charts.marker_words(marker),
        )
        _draw_iso_f1(axes, *limits)
        _draw_settings(axes, pooled[pooled["marker"] == marker], recipes)
        if chosen is not None:
            _draw_points(axes, chosen[chosen["marker"] == marker], recipes)
        charts.label_axes(axes, x="Recall pooled", y="Precision pooled" if column == 0 else "")
    _write_legend(figure, recipes, marked)
    return render(figure)


def _n_settings(pooled: pd.DataFrame) -> int:
    return int(pooled.groupby(["recipe", "marker"]).size().max())


def _style(recipe: str, recipes: list[str]) -> tuple[str, str]:
    """Colour and shape; a second round of colours has other shapes."""
    place = recipes.index(recipe)
    n = len(charts.SERIES)
    return charts.SERIES[place % n], charts.SHAPES[(place + place // n) % len(charts.SHAPES)]


def _draw_iso_f1(
    axes: "Axes", recall_range: tuple[float, float], precision_range: tuple[float, float]
) -> None:
    """Axes from strict to full scores, with a curve for each F1."""
    for set_limits, (low, high) in (
        (axes.set_xlim, recall_range),
        (axes.set_ylim, precision_range),
    ):
        set_limits(low, high + 0.02 * (high - low))
    axes.locator_params(nbins=6)
    right, bottom = recall_range[1], precision_range[0]
    for f1 in _ISO_F1:
        recall = np.linspace(f1 / (2 - f1), 1, 400)
        axes.plot(
            recall, f1 * recall / (2 * recall - f1), color=charts.FAINT, linewidth=1, zorder=1
        )
        end = f1 * right / (2 * right - f1) if 2 * right > f1 else np.inf
        if not bottom + 0.04 < end <= precision_range[1]:
            continue
        axes.annotate(
            f"F1 {f1:g}",
            (right, end),
            xytext=(-2, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=charts.points(13),
            color=charts.MUTED,
            zorder=1,
        )


def _draw_settings(axes: "Axes", own: pd.DataFrame, recipes: list[str]) -> None:
    for recipe, rows in own.groupby("recipe", sort=False):
        colour, shape = _style(str(recipe), recipes)
        axes.scatter(
            rows["recall_pooled"],
            rows["precision_pooled"],
            s=charts.points(6) ** 2,
            marker=shape,
            color=colour,
            alpha=0.45,
            linewidths=0,
            zorder=2,
            clip_on=False,
        )


def _draw_points(axes: "Axes", own: pd.DataFrame, recipes: list[str]) -> None:
    rows: list[dict[Any, Any]] = own.to_dict("records")
    for row in rows:
        colour, _ = _style(str(row["recipe"]), recipes)
        mark, size = _POINT_MARKS.get(str(row["point"]), ("o", 12))
        axes.plot(
            [row["recall_pooled"]],
            [row["precision_pooled"]],
            mark,
            color=colour,
            markersize=charts.points(size),
            markeredgecolor=charts.INK,
            markeredgewidth=1.1,
            zorder=3,
            clip_on=False,
        )


def _write_legend(figure: "Figure", recipes: list[str], marked: list[str]) -> None:
    """Recipes in rows of four, then what star and diamond mean."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * 100
    handles = []
    for recipe in recipes:
        colour, shape = _style(recipe, recipes)
        handles.append(Line2D([], [], marker=shape, color=colour, linestyle="none"))
    n_rows = -(-len(recipes) // _LEGEND_COLUMNS)
    top = 1 - (height - 10 - (n_rows + bool(marked)) * _LEGEND_ROW_PX) / height
    point_handles = []
    for point in marked:
        mark, size = _POINT_MARKS.get(point, ("o", 12))
        point_handles.append(
            Line2D(
                [],
                [],
                marker=mark,
                linestyle="none",
                markerfacecolor="white",
                markeredgecolor=charts.INK,
                markersize=charts.points(size),
            )
        )
    words = [_POINT_WORDS.get(point, point) for point in marked]
    for labels, marks, y in (
        (recipes, handles, top),
        (words, point_handles, top - n_rows * _LEGEND_ROW_PX / height),
    ):
        if labels:
            figure.legend(
                marks,
                labels,
                loc="upper left",
                bbox_to_anchor=(charts.MARGIN_PX / width, y),
                ncols=min(len(labels), _LEGEND_COLUMNS),
                frameon=False,
                fontsize=charts.points(charts.TEXT_PX),
                labelcolor=charts.INK,
                borderaxespad=0,
                handletextpad=0.4,
                columnspacing=1.8,
            )
