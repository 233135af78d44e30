"""What gates remove, by size, and what that does to the scores.

Enters: the table of `gating.describe_removed` and scores without and with the gate. Leaves: PNG
bytes. Refuses: tables without rows.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from somaflow.evaluation.scores import OVERALL
from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_PX = 1300
_ROW_PX, _TITLE_PX, _AXIS_PX, _LEFT_PX = 150, 34, 44, 66
_SCORES_WIDTH_PX, _SCORES_LEFT_PX, _NUMBERS_PX = 300, 130, 120
_LEGEND_PX = 72
_METRICS = ("f1_pooled", "precision_pooled", "recall_pooled")
_METRIC_NAMES = ("F1", "Precision", "Recall")
_SIZES = ["from_area_px", "below_area_px"]
_COUNTS = ["tp_kept", "tp_removed", "fp_kept", "fp_removed"]
_KINDS = (("tp", charts.BLUE, -0.2), ("fp", charts.VERMILLION, 0.2))


def draw_gate_effect(removed: pd.DataFrame, scores: pd.DataFrame) -> Picture:
    """A PNG with a row a marker: cells kept and removed by size, and scores raw against gated.

    Left, right cells (TP) and wrong ones (FP) of each size, what the gate removed hatched; where
    scores have a row over all markers, so do the bars. Right, each score without (open) and with
    (filled) the gate, with its interval.

    Args:
        removed: from `describe_removed`, of one split: marker, from_area_px, below_area_px (inf in
            the last), tp_kept, tp_removed, fp_kept, fp_removed.
        scores: a row a marker and `gated` (bool): f1_pooled, precision_pooled and recall_pooled,
            each with `_low` and `_high`, NaN where unknown.

    Raises:
        ScoringError: if one of the tables has no row, or a column is missing.
    """
    ends = [f"{metric}{end}" for metric in _METRICS for end in ("", "_low", "_high")]
    charts.require_rows(
        removed, ["marker", *_SIZES, *_COUNTS], "cells that a gate removed, to be drawn,"
    )
    charts.require_rows(scores, ["marker", "gated", *ends], "scores of a gate to draw")
    markers = charts.order_markers([*scores["marker"], *removed["marker"]])
    cell_height = _TITLE_PX + _ROW_PX + _AXIS_PX
    figure = charts.new_figure(
        _WIDTH_PX, charts.HEADER_PX + len(markers) * cell_height + _LEGEND_PX
    )
    split = f", {scores['split'].iloc[0]} split" if "split" in scores else ""
    totals = removed[_COUNTS].sum()
    charts.write_header(
        figure,
        f"What the gate removed, and what it did to the scores{split}",
        f"Removed over all markers: {int(totals['tp_removed'])} of "
        f"{int(totals['tp_kept'] + totals['tp_removed'])} right cells and "
        f"{int(totals['fp_removed'])} of {int(totals['fp_kept'] + totals['fp_removed'])} wrong "
        f"ones. Bars at the right: {charts.interval_words(scores)}.",
    )
    limits = charts.score_range(scores[ends].to_numpy(dtype=np.float64), 0.2)
    left = charts.MARGIN_PX + _LEFT_PX
    right = _WIDTH_PX - charts.MARGIN_PX - _NUMBERS_PX - _SCORES_WIDTH_PX
    for row, marker in enumerate(markers):
        top = charts.HEADER_PX + _TITLE_PX + row * cell_height
        bars = charts.add_panel(
            figure, left, top, right - _SCORES_LEFT_PX - left, _ROW_PX, charts.marker_words(marker)
        )
        _draw_sizes(bars, _of_marker(removed, marker))
        is_last = marker == markers[-1]
        charts.label_axes(bars, x="Cell area (px)" if is_last else "", y="Predicted cells")
        dots = charts.add_panel(figure, right, top, _SCORES_WIDTH_PX, _ROW_PX)
        _draw_scores(dots, scores[scores["marker"] == marker], limits)
        charts.label_axes(dots, x="Score, pooled" if is_last else "")
    _write_legend(figure)
    return render(figure)


def _of_marker(removed: pd.DataFrame, marker: str) -> pd.DataFrame:
    """Counts by size of one marker, or summed over all of them."""
    own = removed if marker == OVERALL else removed[removed["marker"] == marker]
    return own.groupby(_SIZES, sort=True, as_index=False)[_COUNTS].sum()


def _draw_sizes(axes: "Axes", own: pd.DataFrame) -> None:
    """Two stacked bars a bin: kept below, removed hatched on top."""
    places = np.arange(len(own))
    for kind, colour, shift in _KINDS:
        kept = own[f"{kind}_kept"].to_numpy(dtype=np.float64)
        gone = own[f"{kind}_removed"].to_numpy(dtype=np.float64)
        axes.bar(places + shift, kept, 0.36, color=colour, linewidth=0)
        some = gone > 0
        axes.bar(
            places[some] + shift,
            gone[some],
            0.36,
            bottom=kept[some],
            facecolor="white",
            edgecolor=colour,
            hatch="/////",
            linewidth=1.2,
        )
    axes.set_xticks(places, [_bin_words(*sizes) for sizes in own[_SIZES].to_numpy(float)])
    axes.set_xlim(-0.6, max(len(own), 1) - 0.4)
    tallest = max((own[["tp_kept", "tp_removed"]].sum(axis=1)).max() if len(own) else 0, 1)
    tallest = max((own[["fp_kept", "fp_removed"]].sum(axis=1)).max() if len(own) else 0, tallest)
    axes.set_ylim(0, tallest * 1.08)
    axes.locator_params(axis="y", nbins=5, integer=True)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=charts.GRID, linewidth=1)


def _bin_words(low: float, high: float) -> str:
    if np.isinf(high):
        return f"≥ {low:g}"
    return f"< {high:g}" if low == 0 else f"{low:g}–{high:g}"


def _draw_scores(axes: "Axes", own: pd.DataFrame, limits: tuple[float, float]) -> None:
    """A pair of dots a metric, raw above gated, and both numbers at the right."""
    axes.set_xlim(limits)
    axes.set_ylim(len(_METRICS) - 0.5, -0.5)
    axes.set_yticks(range(len(_METRICS)), _METRIC_NAMES)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.grid(axis="x", color=charts.GRID, linewidth=1)
    axes.locator_params(axis="x", nbins=6)
    for row, metric in enumerate(_METRICS):
        numbers = []
        for is_gated, shift in ((False, -0.17), (True, 0.17)):
            scored = own[own["gated"].astype(bool) == is_gated]
            ends = scored[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(float)
            value, low, high = ends[0] if len(ends) else (np.nan, np.nan, np.nan)
            numbers.append(charts.format_score(value))
            colour = charts.INK if is_gated else charts.MUTED
            axes.plot(
                [low, high], [row + shift] * 2, color=colour if is_gated else charts.FAINT, lw=2.2
            )
            axes.plot(
                [value],
                [row + shift],
                "o",
                color=colour,
                markerfacecolor=colour if is_gated else "white",
                markersize=charts.points(10),
                markeredgewidth=1.5,
            )
        axes.text(
            1.03,
            row,
            f"{numbers[0]} → {numbers[1]}",
            transform=axes.get_yaxis_transform(),
            fontsize=charts.points(charts.SMALL_PX),
            color=charts.INK,
            va="center",
        )


def _write_legend(figure: "Figure") -> None:
    """The bars' four kinds, then the dots' two."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bars = []
    for kind, colour, _ in _KINDS:
        name = "right (TP)" if kind == "tp" else "wrong (FP)"
        bars.append(Patch(facecolor=colour, label=f"{name} kept"))
        bars.append(
            Patch(facecolor="white", edgecolor=colour, hatch="/////", label=f"{name} removed")
        )
    size = charts.points(10)
    raw = Line2D([], [], marker="o", color=charts.FAINT, markersize=size, label="raw")
    raw.set(markerfacecolor="white", markeredgecolor=charts.MUTED)
    dots = [raw, Line2D([], [], marker="o", color=charts.INK, markersize=size, label="gated")]
    right = _WIDTH_PX - charts.MARGIN_PX - _NUMBERS_PX - _SCORES_WIDTH_PX
    for handles, left in ((bars, charts.MARGIN_PX), (dots, right)):
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(left / _WIDTH_PX, 0.0),
            ncols=len(handles),
            frameon=False,
            fontsize=charts.points(charts.SMALL_PX),
            labelcolor=charts.INK,
            borderaxespad=0.6,
            columnspacing=1.3,
            handletextpad=0.5,
        )
