"""How an association moves with the threshold that calls a cell positive.

Enters: a row a recipe, marker and phenotype. Leaves: a `Picture`. Refuses: a table without rows of
the feature and trait asked for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from somaflow.figures import charts
from somaflow.figures.associations import (
    feature_words,
    n_words,
    series_style,
    write_series,
    write_undefined,
)
from somaflow.figures.pictures import Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ORDER = ("p60", "p70", "p75", "p80", "p90", "otsu", "mixture")
_MEASURES = (
    ("rho", "rho"),
    ("rho_sd", "sd of rho over draws"),
    ("sign_consistency", "same sign (share of draws)"),
    ("share_q05", "q < .05 (share of draws)"),
)
_COLUMNS = ("recipe", "marker", "phenotype", "feature", "trait", "rho", "rho_low", "rho_high")
_WIDTH_PX = (1000, 1400)
_WIDEST_CELL_PX, _LEFT_PX, _LABEL_PX = 520, 62, 26
_PANEL_PX, _TITLE_PX, _GAP_PX, _NARROW_PX = 132, 34, 26, 420
_ROOM = 0.04
_AXIS_PX = (44, 72)
"""Below the last panel: for names of phenotypes side by side, and for upright ones."""
_PRIMARY = "#eef1f5"


def draw_stability(
    by_threshold: pd.DataFrame,
    feature: str | None = None,
    trait: str | None = None,
    primary: str = "",
) -> Picture:
    """Small multiples, a column a marker: rho, its sd, sign consistency and share of q < .05.

    Percentiles are joined by a line; Otsu and mixture stand apart, as they are no step on it. The
    primary phenotype has a grey band.

    Args:
        by_threshold: a row a recipe, marker, phenotype, feature and trait: rho with rho_low and
            rho_high, and over draws of tiles rho_sd, sign_consistency and share_q05 (0-1).
        feature: to show; the first of the table unless given.
        trait: to show; likewise.
        primary: the phenotype of the main tables.

    Raises:
        ScoringError: if there is no such row, or a column is missing.
    """
    names = [*_COLUMNS, *(name for name, _ in _MEASURES[1:])]
    charts.require_rows(by_threshold, names, "stability to draw")
    feature = feature or str(by_threshold["feature"].iloc[0])
    trait = trait or str(by_threshold["trait"].iloc[0])
    shown = by_threshold[(by_threshold["feature"] == feature) & (by_threshold["trait"] == trait)]
    charts.require_rows(shown, ["recipe"], f"stability of {feature} with {trait} to draw")
    markers, recipes = sorted(set(shown["marker"])), list(dict.fromkeys(shown["recipe"]))
    phenotypes = _order(shown["phenotype"])
    least, most = _WIDTH_PX
    width = min(max(least, len(markers) * _WIDEST_CELL_PX), most)
    cell = (width - 2 * charts.MARGIN_PX - _LABEL_PX) / len(markers)
    is_narrow = cell < _NARROW_PX
    body = len(_MEASURES) * (_PANEL_PX + _GAP_PX) - _GAP_PX + _AXIS_PX[is_narrow]
    figure = charts.new_figure(width, charts.HEADER_PX + _TITLE_PX + body + 30)
    charts.write_header(
        figure,
        f"Stability of {feature_words(feature)} with {trait} over thresholds",
        f"Bars: 95 % over {_donors(shown)}. Lower three: over draws of tiles within donors"
        + (f". Band: {primary}." if primary in phenotypes else "."),
    )
    style = series_style(recipes)
    for column, marker in enumerate(markers):
        own = shown[shown["marker"] == marker]
        for row, (measure, words) in enumerate(_MEASURES):
            axes = charts.add_panel(
                figure,
                charts.MARGIN_PX + _LABEL_PX + _LEFT_PX + column * cell,
                charts.HEADER_PX + _TITLE_PX + row * (_PANEL_PX + _GAP_PX),
                cell - _LEFT_PX,
                _PANEL_PX,
                marker if row == 0 else "",
            )
            _draw_measure(axes, own, measure, phenotypes, style)
            if primary in phenotypes:
                place = phenotypes.index(primary)
                axes.axvspan(place - 0.4, place + 0.4, color=_PRIMARY, linewidth=0, zorder=0)
            _set_range(axes, shown, measure)
            is_last = row == len(_MEASURES) - 1
            axes.set_xticks(
                range(len(phenotypes)), phenotypes if is_last else [""] * len(phenotypes)
            )
            if is_last:
                axes.tick_params(axis="x", labelrotation=90 if is_narrow else 0)
            charts.label_axes(axes, y=_break(words) if column == 0 else "")
    write_series(figure, style)
    return render(figure)


def _donors(shown: pd.DataFrame) -> str:
    return f"{n_words(shown['n'][shown['rho'].notna()])} donors" if "n" in shown else "donors"


def _order(phenotypes: pd.Series) -> list[str]:
    """Percentiles upwards, then the others; unknown ones last."""
    present = set(phenotypes)
    return [name for name in _ORDER if name in present] + sorted(present - set(_ORDER))


def _break(words: str) -> str:
    """A long label in two lines."""
    return words.replace(" (", "\n(").replace(" over", "\nover")


def _draw_measure(
    axes: "Axes",
    own: pd.DataFrame,
    measure: str,
    phenotypes: Sequence[str],
    style: dict[str, tuple[str, str]],
) -> None:
    axes.set_xlim(-0.6, len(phenotypes) - 0.4)
    axes.grid(axis="y", color=charts.GRID, linewidth=1)
    axes.tick_params(axis="x", length=0)
    if measure == "rho":
        axes.axhline(0, color=charts.FAINT, linewidth=1.4, zorder=1)
    if own[measure].isna().all():
        write_undefined(axes)
    n_joined = sum(name.startswith("p") for name in phenotypes)
    shifts = np.linspace(-0.13, 0.13, len(style)) if len(style) > 1 else np.zeros(1)
    for shift, (recipe, (colour, mark)) in zip(shifts, style.items(), strict=True):
        rows = own[own["recipe"] == recipe].drop_duplicates("phenotype").set_index("phenotype")
        rows = rows.reindex(list(phenotypes))
        x, y = np.arange(len(phenotypes)) + shift, rows[measure].to_numpy(float)
        if measure == "rho":
            axes.vlines(
                x, rows["rho_low"].astype(float), rows["rho_high"].astype(float), color=colour, lw=2
            )
        axes.plot(x[:n_joined], y[:n_joined], color=colour, linewidth=1.2, alpha=0.6)
        axes.plot(
            x,
            y,
            mark,
            color=colour,
            markersize=charts.points(9),
            markeredgecolor="white",
            markeredgewidth=0.7,
        )


def _set_range(axes: "Axes", shown: pd.DataFrame, measure: str) -> None:
    """One scale for all markers, so that they can be compared."""
    names = [measure, "rho_low", "rho_high"] if measure == "rho" else [measure]
    values = shown[names].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    if measure in ("sign_consistency", "share_q05"):
        axes.set_ylim(-0.06, 1.06)
        axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
        return
    if measure == "rho":
        low, high = (values.min(), values.max()) if values.size else (-0.3, 0.3)
        # A bar that ended on the frame would look cut off.
        low, high = min(low, 0.0) - _ROOM, max(high, 0.0) + _ROOM
        axes.set_ylim(np.floor(low * 10) / 10, np.ceil(high * 10) / 10)
    else:
        axes.set_ylim(0, max(0.05, float(values.max()) * 1.15) if values.size else 0.05)
    axes.locator_params(axis="y", nbins=4)
