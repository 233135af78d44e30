"""Four panels on a marker that does badly: counts, cell probabilities, sizes, thresholds.

Enters: the tables that `experiments.diagnose_marker` reads. Leaves: PNG bytes. Refuses: a marker
without tiles.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from somaflow.evaluation.pooling import select_rows
from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render
from somaflow.recipes import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_PX, _HEIGHT_PX = 1300, 980
_LEFT_PX, _TOP_PX, _PANEL_PX, _AXIS_PX = 68, 36, 330, 78
_TILE_COLUMNS = ("tile_id", "n_reference", "n_predicted", "tp")
_N_BINS = 28
# Upright lines leave the upper part of a panel to its key.
_LINE_TOP = 0.84
_THRESHOLDS = ("cellprob_threshold", "flow_threshold", "min_size_px")
_CURVES = (
    ("precision_pooled", "precision", charts.VERMILLION, "s"),
    ("recall_pooled", "recall", charts.BLUE, "o"),
    ("f1_pooled", "F1", charts.INK, "D"),
)


def draw_diagnosis(
    marker: str,
    recipe: Recipe,
    per_tile: pd.DataFrame,
    reference_cells: pd.DataFrame,
    candidates: pd.DataFrame,
    pooled: pd.DataFrame,
) -> Picture:
    """A PNG of four panels on one marker under one recipe, on val.

    Predicted against reference cells a tile; cell probability in found and in missed reference
    cells with the threshold; areas of reference and predicted cells; precision, recall and F1 by
    cellprob and by flow threshold, the others as they are.

    Args:
        marker: such as OLIG2.
        recipe: with the thresholds that the tables were made with.
        per_tile: as for `diagnose_marker`, like the following.
        reference_cells: a row a reference cell.
        candidates: a row a proposed object.
        pooled: scores of the threshold grid; may have no row of this recipe.

    Raises:
        ScoringError: if there is no tile of this marker, or a column is missing.
    """
    names = {"marker": marker, "recipe": recipe.name, "split": "val"}
    tiles, cells, objects, grid = (
        select_rows(table, names) for table in (per_tile, reference_cells, candidates, pooled)
    )
    charts.require_rows(tiles, _TILE_COLUMNS, f"tiles of {marker} on val to diagnose")
    chosen = recipe.for_marker(marker)
    figure = charts.new_figure(_WIDTH_PX, _HEIGHT_PX)
    charts.write_header(
        figure,
        f"Where {marker} cells are lost: {recipe.name}, val split",
        f"{len(tiles)} tile{'' if len(tiles) == 1 else 's'}, "
        f"{tiles['n_reference'].sum():g} reference cells, "
        f"{tiles['n_predicted'].sum():g} predicted, {tiles['tp'].sum():g} of them right. "
        f"Thresholds: cellprob {chosen.cellprob_threshold:g}, flow "
        f"{_flow_words(chosen.flow_threshold)}, min size {chosen.min_size_px} px.",
    )
    cell = (_WIDTH_PX - charts.MARGIN_PX) / 2
    width = cell - _LEFT_PX - charts.MARGIN_PX
    left, right = charts.MARGIN_PX + _LEFT_PX, charts.MARGIN_PX + _LEFT_PX + cell
    upper = charts.HEADER_PX + _TOP_PX
    lower = upper + _PANEL_PX + _AXIS_PX + _TOP_PX
    _draw_tiles(charts.add_panel(figure, left, upper, width, _PANEL_PX, "Cells a tile"), tiles)
    _draw_cellprob(
        charts.add_panel(
            figure, right, upper, width, _PANEL_PX, "Cell probability of reference cells"
        ),
        cells,
        chosen.cellprob_threshold,
    )
    _draw_sizes(
        charts.add_panel(figure, left, lower, width, _PANEL_PX, "Cell sizes"),
        cells,
        objects[objects["kept"].astype(bool)],
        chosen.min_size_px,
    )
    half = (width - charts.MARGIN_PX) / 2
    for place, (name, label, title) in enumerate(
        (
            ("cellprob_threshold", "Cellprob threshold (logit)", "Scores by threshold"),
            ("flow_threshold", "Flow threshold", ""),
        )
    ):
        axes = charts.add_panel(
            figure, right + place * (half + charts.MARGIN_PX), lower, half, _PANEL_PX, title
        )
        _draw_threshold(axes, grid, chosen, name, place == 0)
        charts.label_axes(axes, x=label, y="Score, pooled" if place == 0 else "")
    return render(figure)


def _flow_words(flow_threshold: float) -> str:
    return "off" if flow_threshold == 0 else f"{flow_threshold:g}"


def _draw_tiles(axes: "Axes", tiles: pd.DataFrame) -> None:
    """A dot a tile, and the line on which as many are predicted as there are."""
    most = max(float(tiles[["n_reference", "n_predicted"]].to_numpy().max()) * 1.08, 1.0)
    axes.plot([0, most], [0, most], color=charts.MUTED, linestyle=(0, (5, 3)), linewidth=1.5)
    axes.annotate(
        "as many",
        (0.75 * most, 0.75 * most),
        xytext=(-8, 4),
        textcoords="offset points",
        ha="right",
        fontsize=charts.points(charts.SMALL_PX),
        color=charts.MUTED,
    )
    axes.plot(
        tiles["n_reference"],
        tiles["n_predicted"],
        "o",
        color=charts.BLUE,
        alpha=0.65,
        markersize=charts.points(13),
        markeredgecolor="white",
        clip_on=False,
    )
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    axes.locator_params(nbins=6, integer=True)
    axes.grid(color=charts.GRID, linewidth=1)
    charts.label_axes(axes, x="Reference cells in the tile", y="Predicted cells in the tile")


def _draw_cellprob(axes: "Axes", cells: pd.DataFrame, threshold: float) -> None:
    """Stacked bars: found below, missed hatched on top, and the threshold."""
    found = cells["found"].astype(bool)
    values = cells["cellprob_median"].to_numpy(dtype=np.float64)
    edges = np.linspace(*_range(np.append(values, threshold)), _N_BINS + 1)
    # One bar may not hold cells from both sides of the threshold.
    edges += (threshold - edges[0]) % (edges[1] - edges[0])
    edges = np.insert(edges, 0, 2 * edges[0] - edges[1])
    kept, _ = np.histogram(values[found], edges)
    lost, _ = np.histogram(values[~found], edges)
    middle, width = (edges[1:] + edges[:-1]) / 2, (edges[1] - edges[0]) * 0.92
    axes.bar(middle, kept, width, color=charts.BLUE, label=f"found ({int(found.sum())})")
    some = lost > 0
    axes.bar(
        middle[some],
        lost[some],
        width,
        bottom=kept[some],
        facecolor="white",
        edgecolor=charts.VERMILLION,
        hatch="/////",
        linewidth=1,
        label=f"missed ({int((~found).sum())})",
    )
    axes.axvline(
        threshold, ymax=_LINE_TOP, color=charts.INK, linewidth=2, label=f"threshold ({threshold:g})"
    )
    axes.set_ylim(0, max(float((kept + lost).max(initial=0)) / _LINE_TOP, 1.0))
    _finish(axes, "Median cell probability in the cell (logit)", "Reference cells", n_columns=3)


def _draw_sizes(
    axes: "Axes", cells: pd.DataFrame, predicted: pd.DataFrame, min_size_px: int
) -> None:
    """Outlined histograms of both, on a log scale of area."""
    areas = [table["area_px"].to_numpy(dtype=np.float64) for table in (cells, predicted)]
    low, high = _range(np.log10(np.clip(np.append(np.concatenate(areas), 10), 1, None)))
    edges = 10 ** np.linspace(low, high, _N_BINS + 1)
    highest = 0.0
    for values, name, colour, line in (
        (areas[0], "reference", charts.MUTED, "-"),
        (areas[1], "predicted", charts.BLUE, "-"),
    ):
        counts, _ = np.histogram(values, edges)
        highest = max(highest, float(counts.max(initial=0)))
        axes.stairs(
            counts,
            edges,
            fill=colour == charts.MUTED,
            color=charts.FAINT if colour == charts.MUTED else colour,
            alpha=0.7 if colour == charts.MUTED else 1.0,
            linestyle=line,
            linewidth=2.2,
            label=f"{name} ({len(values)})",
        )
    axes.axvline(
        max(min_size_px, edges[0]),
        ymax=_LINE_TOP,
        color=charts.INK,
        linewidth=2,
        label=f"min size ({min_size_px} px)",
    )
    axes.set_xscale("log")
    axes.minorticks_off()
    ticks = [t for t in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000) if t <= 10**high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, max(highest / _LINE_TOP, 1.0))
    _finish(axes, "Cell area (px)", "Cells", n_columns=3)


def _draw_threshold(
    axes: "Axes", grid: pd.DataFrame, recipe: Recipe, name: str, with_legend: bool
) -> None:
    """Scores along one threshold, the two others as the recipe has them."""
    now = {other: float(getattr(recipe, other)) for other in _THRESHOLDS}
    own = grid
    for other in _THRESHOLDS:
        if other != name:
            own = own[np.isclose(own[other].to_numpy(dtype=np.float64), now[other])]
    values = own[name].to_numpy(dtype=np.float64)
    order = np.argsort(np.where((name == "flow_threshold") & (values == 0), np.inf, values))
    own, values = own.iloc[order], values[order]
    places = np.arange(len(own))
    axes.set_ylim(0, 1 / _LINE_TOP)
    axes.set_yticks(np.arange(6) / 5)
    axes.tick_params(labelleft=with_legend)
    axes.grid(axis="y", color=charts.GRID, linewidth=1)
    if own.empty:
        _write_middle(axes, "not swept")
        axes.set_xticks([])
        return
    for column, label, colour, mark in _CURVES:
        axes.plot(
            places,
            own[column],
            marker=mark,
            color=colour,
            linewidth=2,
            markersize=charts.points(8),
            label=label,
        )
    words = [_flow_words(v) if name == "flow_threshold" else f"{v:g}" for v in values]
    axes.set_xticks(places, [word.replace("-", "−") for word in words])
    axes.set_xlim(-0.4, len(own) - 0.6)
    here = np.flatnonzero(np.isclose(values, now[name]))
    if here.size:
        axes.axvline(
            here[0],
            ymax=_LINE_TOP,
            color=charts.MUTED,
            linestyle=(0, (5, 3)),
            linewidth=1.5,
            label="now",
        )
    if with_legend:
        _write_key(axes, n_columns=2)


def _range(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest finite value, never equal."""
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    return (low, high + 1e-6) if high - low > 0.1 else (low - 0.5, high + 0.5)


def _finish(axes: "Axes", x: str, y: str, n_columns: int) -> None:
    axes.locator_params(axis="y", nbins=6, integer=True)
    axes.grid(axis="y", color=charts.GRID, linewidth=1)
    charts.label_axes(axes, x=x, y=y)
    _write_key(axes, n_columns)


def _write_key(axes: "Axes", n_columns: int) -> None:
    axes.legend(
        loc="upper left",
        ncols=n_columns,
        facecolor="white",
        edgecolor="none",
        framealpha=1,
        fontsize=charts.points(charts.SMALL_PX),
        labelcolor=charts.INK,
        columnspacing=1.2,
        handlelength=1.4,
        handletextpad=0.5,
        borderaxespad=0.2,
    )


def _write_middle(axes: "Axes", words: str) -> None:
    axes.text(
        0.5,
        0.5,
        words,
        transform=axes.transAxes,
        ha="center",
        fontsize=charts.points(charts.TEXT_PX),
        color=charts.MUTED,
    )
