"""Scores over thresholds as heat maps.

Enters: the table of `evaluation.operating_points.pooled_settings`. Leaves: PNG bytes. Refuses: a
recipe or marker that was not swept.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render
from somaflow.recipes import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Chosen = Mapping[str, Any] | pd.DataFrame | None
"""One setting, or the table of `choose_operating_points`, or nothing."""

_SETTING = ("cellprob_threshold", "flow_threshold", "min_size_px")
_WIDTH_PX = (1000, 1300)
_MAX_COLUMNS = 4
_LEFT_PX, _TITLE_PX, _AXIS_PX, _BAR_PX = 58, 34, 78, 92
_ROW_PX, _WIDEST_CELL_PX = 44, 150
# One hue, so that order stays visible in grey and to every kind of colour vision; light enough for
# dark numbers.
_RAMP = ("#fdfeff", "#e3eff8", "#c2dcf0", "#93c3e4", "#559dd1")
_FRAMES: dict[str, tuple[str, Any, float]] = {
    "best-f1": (charts.VERMILLION, "-", 3.4),
    "precise": ("#000000", (0, (2.2, 1.2)), 2.4),
}
# In marker coordinates, from the corner of the cell to the right and down.
_CORNER = [(0, 0), (1, 0), (0, -1)]
_CORNER_PX = 26
_FRAME_WORDS = {"best-f1": "chosen: best F1", "precise": "chosen: precise"}


def draw_threshold_maps(
    pooled: pd.DataFrame,
    recipe: str,
    marker: str,
    chosen: Chosen = None,
    metric: str = "f1_pooled",
) -> Picture:
    """A PNG with a heat map a min size: the score by cellprob and flow threshold.

    Both axes run from strict to lax, so the upper left corner keeps the least; a flow threshold of
    0 checks nothing and is the last column, "off". Chosen settings are framed, Cellpose's default
    has a triangle in its corner.

    Args:
        pooled: a row a setting: recipe, marker, cellprob_threshold, flow_threshold, min_size_px
            and `metric`, on val.
        recipe: of the rows to show.
        marker: of the rows to show.
        chosen: the setting to frame (its three thresholds), or the table of
            `choose_operating_points`, whose settings of this recipe and marker are framed.
        metric: column to show.

    Raises:
        ScoringError: if there is no row of this recipe and marker, or a column is missing.
    """
    charts.require_rows(pooled, ["recipe", "marker", *_SETTING, metric], "threshold maps")
    own = pooled[(pooled["recipe"] == recipe) & (pooled["marker"] == marker)]
    if own.empty:
        raise ScoringError(
            f"threshold maps need a recipe and marker that were swept, got {recipe} on {marker}; "
            f"swept are {', '.join(sorted(set(pooled['recipe'])))} on "
            f"{', '.join(sorted(set(pooled['marker'])))}"
        )
    sizes = sorted(own["min_size_px"].unique())
    frames = _list_frames(chosen, recipe, marker)
    n_columns = min(len(sizes), _MAX_COLUMNS)
    least, most = _WIDTH_PX
    cell_width = min(
        (most - charts.MARGIN_PX - _BAR_PX) / n_columns,
        _LEFT_PX + charts.MARGIN_PX + _WIDEST_CELL_PX * own["flow_threshold"].nunique(),
    )
    figure_width = max(least, charts.MARGIN_PX + _BAR_PX + n_columns * cell_width)
    height = _ROW_PX * own["cellprob_threshold"].nunique()
    cell_height = _TITLE_PX + height + _AXIS_PX
    n_rows = -(-len(sizes) // n_columns)
    figure = charts.new_figure(figure_width, charts.HEADER_PX + n_rows * cell_height + 36)
    split = f", {own['split'].iloc[0]} split" if "split" in own else ""
    charts.write_header(
        figure,
        f"{charts.metric_words(metric)} by threshold: {recipe} on "
        f"{charts.marker_words(marker)}{split}",
        f"One pass of the net a tile, {len(own)} settings. Strict is up and left, lax is down "
        "and right.",
    )
    limits = _colour_limits(own[metric].to_numpy(dtype=np.float64))
    for place, size in enumerate(sizes):
        row, column = divmod(place, n_columns)
        axes = charts.add_panel(
            figure,
            charts.MARGIN_PX + _LEFT_PX + column * cell_width,
            charts.HEADER_PX + _TITLE_PX + row * cell_height,
            cell_width - _LEFT_PX - charts.MARGIN_PX,
            height,
            f"min size {size:g} px",
        )
        table = _arrange(own[own["min_size_px"] == size], metric)
        _draw_map(axes, table, limits)
        _mark_settings(axes, table, size, frames)
        charts.label_axes(
            axes,
            x="Flow threshold (largest flow error kept)",
            y="Cellprob threshold (logit)" if column == 0 else "",
        )
    _draw_bar(figure, charts.MARGIN_PX + n_columns * cell_width, limits, height, metric)
    _write_legend(figure, frames)
    return render(figure)


def _list_frames(chosen: Chosen, recipe: str, marker: str) -> list[tuple[str, dict[str, float]]]:
    """Name of the point and its setting, for each setting to frame."""
    if chosen is None:
        return []
    if isinstance(chosen, pd.DataFrame):
        rows: list[dict[Any, Any]] = chosen[
            (chosen["recipe"] == recipe) & (chosen["marker"] == marker)
        ].to_dict("records")
    else:
        rows = [dict(chosen)]
    missing = [name for name in _SETTING for row in rows if name not in row]
    if missing:
        raise ScoringError(
            f"a chosen setting must have {', '.join(_SETTING)}, got none of {', '.join(missing)} "
            f"for {recipe} on {marker}; pass the table of choose_operating_points"
        )
    return [
        (str(row.get("point", "best-f1")), {name: float(row[name]) for name in _SETTING})
        for row in rows
    ]


def _arrange(own: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Scores with cellprob thresholds down and flow thresholds to the right, strict to lax."""
    table = own.pivot_table(
        index="cellprob_threshold", columns="flow_threshold", values=metric, dropna=False
    )
    table = table.sort_index(ascending=False)
    flow = table.columns.to_numpy(dtype=np.float64)
    return table.iloc[:, np.argsort(np.where(flow > 0, flow, np.inf))]


def _colour_limits(scores: np.ndarray) -> tuple[float, float]:
    known = scores[np.isfinite(scores)]
    if not known.size:
        return 0.0, 1.0
    # A map of nearly equal scores should look nearly equal.
    middle, half = (known.max() + known.min()) / 2, max(np.ptp(known) / 2, 0.05)
    return float(middle - half), float(middle + half)


def _colours() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("scores", _RAMP)


def _draw_map(axes: "Axes", table: pd.DataFrame, limits: tuple[float, float]) -> None:
    scores = table.to_numpy(dtype=np.float64)
    colours = _colours().with_extremes(bad="#eceef1")
    axes.imshow(scores, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    flow = ["off" if value == 0 else f"{value:g}" for value in table.columns]
    axes.set_xticks(range(len(flow)), flow)
    axes.set_yticks(range(len(table)), [f"{value:g}".replace("-", "−") for value in table.index])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks(np.arange(len(flow) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(table) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.set_axisbelow(False)
    axes.tick_params(which="minor", length=0)
    if axes.get_window_extent().width / len(flow) < 30:
        return
    for (row, column), score in np.ndenumerate(scores):
        axes.text(
            column,
            row,
            charts.format_score(score),
            ha="center",
            va="center",
            fontsize=charts.points(charts.SMALL_PX),
            color=charts.INK,
        )


def _mark_settings(
    axes: "Axes",
    table: pd.DataFrame,
    size: float,
    frames: list[tuple[str, dict[str, float]]],
) -> None:
    """A triangle at Cellpose's default and frames around chosen settings, if this map has them."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    default = {name: float(getattr(Recipe(), name)) for name in _SETTING}
    place = _find(table, size, default)
    if place is not None:
        axes.plot(
            [place[0] - 0.5],
            [place[1] - 0.5],
            marker=_CORNER,
            markersize=charts.points(_CORNER_PX),
            color=charts.INK,
            markeredgecolor="white",
            zorder=4,
        )
    seen: set[tuple[int, int]] = set()
    for point, setting in frames:
        place = _find(table, size, setting)
        if place is None:
            continue
        # The second frame of one cell lies inside the first.
        inset = 0.13 if place in seen else 0.03
        seen.add(place)
        colour, line, thickness = _FRAMES.get(point, _FRAMES["best-f1"])
        side = 1 - 2 * inset
        corner = (place[0] - side / 2, place[1] - side / 2)
        frame = Rectangle(corner, side, side, fill=False, edgecolor=colour, linestyle=line)
        frame.set(linewidth=thickness, zorder=5)
        # A dark frame on a dark cell needs light beside it.
        frame.set_path_effects([Stroke(linewidth=thickness + 2, foreground="white"), Normal()])
        axes.add_patch(frame)


def _find(table: pd.DataFrame, size: float, setting: dict[str, float]) -> tuple[int, int] | None:
    """Column and row of a setting in the map of this min size, None if it is not there."""
    columns = np.flatnonzero(np.isclose(table.columns.to_numpy(float), setting["flow_threshold"]))
    rows = np.flatnonzero(np.isclose(table.index.to_numpy(float), setting["cellprob_threshold"]))
    if size != setting["min_size_px"] or not (columns.size and rows.size):
        return None
    return int(columns[0]), int(rows[0])


def _draw_bar(
    figure: "Figure", left: float, limits: tuple[float, float], height: float, metric: str
) -> None:
    """The colour scale, to the right of the maps."""
    axes = charts.add_panel(figure, left, charts.HEADER_PX + _TITLE_PX, 18, height)
    axes.imshow(
        np.linspace(1, 0, 256)[:, np.newaxis],
        cmap=_colours(),
        aspect="auto",
        extent=(0, 1, limits[0], limits[1]),
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("", pad=0)
    axes.yaxis.set_label_position("right")
    charts.label_axes(axes, y=charts.metric_words(metric))
    axes.locator_params(axis="y", nbins=6)


def _write_legend(figure: "Figure", frames: list[tuple[str, dict[str, float]]]) -> None:
    """What triangle and frames mean, in a line at the bottom."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            marker=_CORNER,
            markersize=charts.points(_CORNER_PX),
            color=charts.INK,
            linestyle="none",
        )
    ]
    names = ["Cellpose's default"]
    for point in dict.fromkeys(point for point, _ in frames):
        colour, line, _ = _FRAMES.get(point, _FRAMES["best-f1"])
        handles.append(Line2D([], [], color=colour, linestyle=line, linewidth=3))
        names.append(_FRAME_WORDS.get(point, f"chosen: {point}"))
    figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.01, 0.0),
        ncols=len(names),
        frameon=False,
        fontsize=charts.points(charts.TEXT_PX),
        labelcolor=charts.INK,
    )
    if not frames:
        height, width = figure.get_size_inches()[::-1] * 100
        charts.write(
            figure,
            "no setting chosen",
            width - charts.MARGIN_PX,
            height - 22,
            charts.SMALL_PX,
            charts.MUTED,
            "right",
        )
