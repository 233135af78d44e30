"""Curves: scores by label budget, and a training epoch by epoch.

Enters: the table of `experiments.budget_curve`, or the history of one training. Leaves: PNG bytes.
Refuses: a split that was not scored.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_PX = 1300
_MAX_COLUMNS = 3
_PANEL_HEIGHT_PX, _TITLE_PX, _AXIS_PX, _LEFT_PX = 250, 34, 74, 62
_BUDGET_COLUMNS = ("budget", "marker", "n_repeats")
_HISTORY_COLUMNS = (
    "epoch",
    "loss",
    "learning_rate",
    "val_f1_pooled",
    "weights_moved_fraction",
)


def draw_budget_curve(
    curve: pd.DataFrame,
    metric: str = "f1_pooled",
    split: str = "test",
    baseline: Mapping[str, float] | None = None,
) -> Picture:
    """A PNG with a panel a marker: mean score by number of training tiles, with its spread.

    Thin bars are the 95 % interval, thick ones a standard deviation over repeats to either side;
    both are left out where they are NaN. All panels have one scale.

    Args:
        curve: from `experiments.budget_curve`, a row a marker ("all" for all of them) and budget.
        metric: column to show; its `_low`, `_high` and `_sd` are needed too.
        split: of the scores; rows of other splits are left out if the table names splits.
        baseline: score of the recipe that all start from, by marker: a dashed line.

    Raises:
        ScoringError: if there is no row of this split, or a column is missing.
    """
    ends = [metric, f"{metric}_low", f"{metric}_high", f"{metric}_sd"]
    charts.require_rows(curve, [*_BUDGET_COLUMNS, *ends], "label-budget scores to draw")
    shown = curve[curve["split"] == split] if "split" in curve else curve
    charts.require_rows(shown, ["budget"], f"label-budget scores on {split} to draw")
    markers = charts.order_markers(shown["marker"])
    known = {name: value for name, value in (baseline or {}).items() if name in markers}
    n_columns = min(len(markers), _MAX_COLUMNS)
    n_rows = -(-len(markers) // n_columns)
    cell_height = _TITLE_PX + _PANEL_HEIGHT_PX + _AXIS_PX
    figure = charts.new_figure(_WIDTH_PX, charts.HEADER_PX + n_rows * cell_height)
    charts.write_header(
        figure,
        f"{charts.metric_words(metric)} by number of labelled training tiles, {split} split",
        _describe_marks(shown, ends, bool(known)),
    )
    spread = np.column_stack([shown[ends[:3]], shown[metric] - shown[ends[3]]])
    limits = charts.score_range(np.append(spread.ravel(), list(known.values())))
    cell_width = (_WIDTH_PX - charts.MARGIN_PX) / n_columns
    for place, marker in enumerate(markers):
        row, column = divmod(place, n_columns)
        axes = charts.add_panel(
            figure,
            _LEFT_PX + charts.MARGIN_PX + column * cell_width,
            charts.HEADER_PX + _TITLE_PX + row * cell_height,
            cell_width - _LEFT_PX - charts.MARGIN_PX,
            _PANEL_HEIGHT_PX,
            charts.marker_words(marker),
        )
        own = shown[shown["marker"] == marker].sort_values("budget")
        _draw_budgets(axes, own, ends, limits)
        _draw_baseline(axes, known.get(marker, np.nan))
        charts.label_axes(
            axes, x="Training tiles a marker", y=charts.metric_words(metric) if column == 0 else ""
        )
    return render(figure)


def _describe_marks(curve: pd.DataFrame, ends: list[str], with_baseline: bool) -> str:
    words = f"Dot: {_repeat_words(curve)}"
    if curve[ends[1]].notna().any():
        words += f"; thin bar: {_interval_words(curve)}"
    if curve[ends[3]].notna().any():
        words += "; thick bar: ± 1 sd over repeats"
    return words + (". Dashed: before fine-tuning." if with_baseline else ".")


def _repeat_words(curve: pd.DataFrame) -> str:
    fewest, most = int(curve["n_repeats"].min()), int(curve["n_repeats"].max())
    if most == 1:
        return "one run"
    return f"mean of {most} repeats" if fewest == most else f"mean of {fewest} to {most} repeats"


def _interval_words(curve: pd.DataFrame) -> str:
    words = charts.interval_words(curve)
    return f"{words} and repeats" if " over " in words else words


def _draw_budgets(
    axes: "Axes", own: pd.DataFrame, ends: list[str], limits: tuple[float, float]
) -> None:
    budgets = own["budget"].to_numpy(dtype=np.float64)
    value, low, high, sd = own[ends].to_numpy(dtype=np.float64).T
    axes.set_xscale("log")
    axes.minorticks_off()
    most = own["n_repeats"].max()
    axes.set_xticks(
        budgets,
        [
            f"{budget:g}" + (f"\n(n = {n})" if n < most else "")
            for budget, n in zip(budgets, own["n_repeats"], strict=True)
        ],
    )
    axes.set_xlim(budgets.min() / 1.3, budgets.max() * 1.3)
    axes.set_ylim(limits)
    axes.grid(axis="y", color=charts.GRID, linewidth=1)
    axes.plot(budgets, value, color=charts.BLUE, linewidth=1.4, alpha=0.55)
    axes.vlines(budgets, low, high, color=charts.BLUE, linewidth=1.8)
    axes.vlines(budgets, value - sd, value + sd, color=charts.BLUE, linewidth=8, alpha=0.3)
    axes.plot(
        budgets,
        value,
        "o",
        color=charts.BLUE,
        markersize=charts.points(11),
        markeredgecolor="white",
    )


def _draw_baseline(axes: "Axes", score: float) -> None:
    if np.isfinite(score):
        axes.axhline(score, color=charts.INK, linestyle=(0, (5, 3)), linewidth=1.5, zorder=1.5)
        axes.annotate(
            charts.format_score(score),
            (1.0, score),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=charts.points(charts.SMALL_PX),
            color=charts.INK,
        )


def draw_training(history: pd.DataFrame, title: str) -> Picture:
    """A PNG of one training: F1 on val above, loss and learning rate below, by epoch.

    The best epoch by F1 on val, the one whose weights are kept, is marked in both.

    Args:
        history: a row an epoch: epoch, loss, learning_rate, val_f1_pooled (NaN where not scored),
            weights_moved_fraction; may be empty.
        title: of the training, such as its recipe's name.

    Raises:
        ScoringError: if a column is missing.
    """
    if len(history):
        charts.require_rows(history, _HISTORY_COLUMNS, "epochs to draw")
    width = _WIDTH_PX - 2 * (charts.MARGIN_PX + _LEFT_PX)
    figure = charts.new_figure(_WIDTH_PX, 700)
    charts.write_header(figure, f"Training of {title}", _training_words(history))
    left = charts.MARGIN_PX + _LEFT_PX + 12
    score_axes = charts.add_panel(
        figure, left, charts.HEADER_PX + 28, width, 230, "F1 pooled on val"
    )
    loss_axes = charts.add_panel(figure, left, charts.HEADER_PX + 332, width, 210, "Training loss")
    charts.label_axes(score_axes, y="F1 pooled")
    charts.label_axes(loss_axes, x="Epoch", y="Loss")
    if history.empty:
        return render(figure)
    epochs = history["epoch"].to_numpy()
    _draw_scores(score_axes, history[history["val_f1_pooled"].notna()])
    _draw_losses(loss_axes, history)
    for axes in (score_axes, loss_axes):
        axes.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        axes.locator_params(axis="x", integer=True, nbins=12, min_n_ticks=1)
        axes.grid(axis="y", color=charts.GRID, linewidth=1)
        if history["val_f1_pooled"].notna().any():
            axes.axvline(_best_epoch(history), color=charts.VERMILLION, linewidth=1.2, alpha=0.6)
    return render(figure)


def _training_words(history: pd.DataFrame) -> str:
    if history.empty:
        return "No epoch has ended yet."
    moved = float(history["weights_moved_fraction"].iloc[-1])
    words = f"{len(history)} epoch{'' if len(history) == 1 else 's'}"
    if np.isfinite(moved):
        words += f"; {100 * moved:.3g} % of the weights moved"
    if history["val_f1_pooled"].notna().any():
        best = history["val_f1_pooled"].max()
        words += f"; kept: epoch {_best_epoch(history)}, F1 {charts.format_score(best)} on val"
    else:
        words += "; not scored on val"
    return words + "."


def _best_epoch(history: pd.DataFrame) -> int:
    return int(history["epoch"].iloc[int(np.nanargmax(history["val_f1_pooled"]))])


def _draw_scores(axes: "Axes", scored: pd.DataFrame) -> None:
    scores = scored["val_f1_pooled"].to_numpy(dtype=np.float64)
    axes.set_ylim(charts.score_range(scores))
    axes.tick_params(labelbottom=False)
    if not len(scored):
        axes.text(
            0.5,
            0.5,
            "not scored",
            transform=axes.transAxes,
            ha="center",
            color=charts.MUTED,
            fontsize=charts.points(charts.TEXT_PX),
        )
        return
    is_short = len(scored) <= 40
    style = "o-" if is_short else "-"
    axes.plot(
        scored["epoch"],
        scores,
        style,
        color=charts.BLUE,
        linewidth=1.8,
        markersize=charts.points(6),
    )
    best = _best_epoch(scored)
    axes.plot([best], [scores.max()], "o", color=charts.VERMILLION, markersize=charts.points(12))
    middle = scored["epoch"].iloc[0] + scored["epoch"].iloc[-1]
    is_right = 2 * best > middle
    axes.annotate(
        f"best: epoch {best}, {charts.format_score(scores.max())}",
        (best, 0.08),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-8 if is_right else 8, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        fontsize=charts.points(charts.TEXT_PX),
        fontweight="bold",
        color=charts.VERMILLION,
    )


def _draw_losses(axes: "Axes", history: pd.DataFrame) -> None:
    rates = axes.twinx()
    # The axes that was made last lies above; the rate is the less important of the two.
    axes.set_zorder(rates.get_zorder() + 1)
    axes.patch.set_visible(False)
    rates.fill_between(
        history["epoch"], 0, history["learning_rate"], color=charts.FAINT, alpha=0.28, lw=0
    )
    rates.set_ylim(0, max(float(history["learning_rate"].max()) * 1.15, 1e-12))
    rates.set_ylabel(
        "Learning rate (grey)",
        fontsize=charts.points(charts.SMALL_PX),
        color=charts.MUTED,
        labelpad=8,
    )
    rates.tick_params(colors=charts.MUTED, labelsize=charts.points(charts.SMALL_PX), length=0)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    rates.yaxis.get_offset_text().set(color=charts.MUTED, fontsize=charts.points(charts.SMALL_PX))
    for side in rates.spines.values():
        side.set_visible(False)
    loss = history["loss"].to_numpy(dtype=np.float64)
    known = loss[np.isfinite(loss)]
    style = "o-" if len(history) <= 40 else "-"
    axes.plot(
        history["epoch"], loss, style, color=charts.BLUE, linewidth=1.8, markersize=charts.points(6)
    )
    if known.size and known.min() > 0 and known.max() > 20 * known.min():
        axes.set_yscale("log")
    elif known.size:
        axes.set_ylim(0, known.max() * 1.08 or 1)
