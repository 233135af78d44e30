"""Which tiles a study has of which donor and marker, as a map on which gaps stand out.

Enters: a row a donor and marker, with counts of tiles. Leaves: a `Picture`. Refuses: a table
without rows, or with two rows for one donor and marker.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = (
    "n_expected", "n_found", "n_refused", "n_segmented", "n_quarantined", "n_passing_quality",
)  # fmt: skip
_WIDTH_PX = (1100, 1360)
_ROW_PX, _TITLE_PX, _LEGEND_PX = 25, 36, 74
_LEAST_ROWS, _MOST_BLOCKS = 23, 3
_GAP_PX, _WIDEST_CELL_PX, _LEAST_CELL_PX = 34, 110, 34
_NAME_PX = 150
_NO_TRAITS = " †"


@dataclass(frozen=True)
class _State:
    """How a cell of the map looks."""

    words: str
    fill: str
    ink: str
    weight: str


_COMPLETE = _State("complete", "#e9f1f7", charts.MUTED, "normal")
_PARTLY = _State("some missing", "#f6b83c", charts.INK, "bold")
_NONE = _State("none", "#b34700", "#ffffff", "bold")
_UNASKED = _State("none there, none expected", "#f4f5f7", charts.MUTED, "normal")


def draw_coverage(coverage: pd.DataFrame) -> Picture:
    """A map of donors by markers: tiles segmented, of those expected where some are missing.

    A complete cell is pale and holds one number, an incomplete one is coloured and holds "49/53".
    A corner marks cells of which some tiles fail the limits of quality, a dagger donors without
    traits. Donors run down in up to three blocks, so that 69 fit a page.

    Args:
        coverage: a row a donor and marker: n_expected (NaN: unknown, those found are expected),
            n_found, n_refused, n_segmented (NaN: nothing was segmented yet, and those found are
            shown), n_quarantined, n_passing_quality, has_traits (bool). A row with the marker ""
            is a donor without tiles.

    Raises:
        ScoringError: if there is no row, a column is missing, or a pair occurs twice.
    """
    columns = ["donor", "marker", *_COLUMNS, "has_traits"]
    charts.require_rows(coverage, columns, "maps of coverage")
    if coverage.duplicated(["donor", "marker"]).any():
        raise ScoringError(
            "a map of coverage must have one row a donor and marker, got two for "
            f"{coverage[coverage.duplicated(['donor', 'marker'])].donor.iloc[0]}; add them up"
        )
    table = coverage.assign(donor=coverage["donor"].astype(str)).sort_values(["donor", "marker"])
    table = table.assign(n_shown=_count_shown(table))
    donors, markers = list(dict.fromkeys(table["donor"])), sorted(set(table["marker"]) - {""})
    charts.require_rows(table[table["marker"] != ""], ["marker"], "maps of coverage")
    n_blocks = min(_MOST_BLOCKS, -(-len(donors) // _LEAST_ROWS))
    n_rows = -(-len(donors) // n_blocks)
    width, name_px, cell_px = _measure_columns(donors, len(markers), n_blocks)
    figure = charts.new_figure(
        width, charts.HEADER_PX + _TITLE_PX + n_rows * _ROW_PX + 14 + _LEGEND_PX
    )
    charts.write_header(figure, *_describe(table, len(donors), markers))
    block_px = name_px + len(markers) * cell_px + _GAP_PX
    for block in range(n_blocks):
        own = donors[block * n_rows : (block + 1) * n_rows]
        left = charts.MARGIN_PX + block * block_px + name_px
        axes = charts.add_panel(
            figure,
            left,
            charts.HEADER_PX + _TITLE_PX,
            len(markers) * cell_px,
            len(own) * _ROW_PX,
        )
        rows = table[table["donor"].isin(own)]
        is_unknown = not table["has_traits"].any()
        _draw_block(axes, figure, rows, own, markers, cell_px, is_unknown)
    _write_legend(figure)
    return render(figure)


def _measure_columns(
    donors: list[str], n_markers: int, n_blocks: int
) -> tuple[float, float, float]:
    """Width of the figure, of a donor's name and of a cell, in px."""
    figure = charts.new_figure(100, 100)
    longest = max(charts.measure_px(figure, name + _NO_TRAITS, charts.SMALL_PX) for name in donors)
    name_px = min(longest, _NAME_PX) + 14
    least, most = _WIDTH_PX
    room = (most - 2 * charts.MARGIN_PX + _GAP_PX) / n_blocks - name_px - _GAP_PX
    cell_px = float(np.clip(room / n_markers, _LEAST_CELL_PX, _WIDEST_CELL_PX))
    needed = n_blocks * (name_px + n_markers * cell_px + _GAP_PX) - _GAP_PX
    return max(least, needed + 2 * charts.MARGIN_PX), name_px, cell_px


def _describe(table: pd.DataFrame, n_donors: int, markers: list[str]) -> tuple[str, str]:
    """Title and subtitle."""
    total = _count_wanted(table)
    is_gap = (table["n_shown"] < total) & (table["marker"] != "")
    n_gaps = int(is_gap.sum())
    gaps = f"{n_gaps} of {n_donors * len(markers)} cells have gaps" if n_gaps else "no gaps"
    done = "found" if table["n_segmented"].isna().all() else "segmented"
    n_failing = (table["n_shown"] - table["n_passing_quality"]).clip(lower=0).sum()
    if not table["has_traits"].any():
        gaps += "; no donor has traits"
    return (
        f"Tiles by donor and marker: {int(table['n_shown'].sum()):,} of "
        f"{int(total.sum()):,} {done}",
        f"{_count(n_donors, 'donor')}, {_count(len(markers), 'marker')}; {gaps}. "
        f"{int(table['n_refused'].sum())} tiles refused, "
        f"{int(table['n_quarantined'].sum())} quarantined, "
        f"{int(n_failing)} below the limits of quality.",
    )


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _count_shown(table: pd.DataFrame) -> pd.Series:
    """Tiles segmented; where nothing was segmented yet, those that can be."""
    usable = table["n_found"] - table["n_refused"]
    return table["n_segmented"].astype(float).fillna(usable.astype(float))


def _count_wanted(table: pd.DataFrame) -> pd.Series:
    """Tiles that there should be: as expected, or else as found."""
    known = table["n_expected"].astype(float)
    return known.fillna(table["n_found"].astype(float))


def _draw_block(
    axes: "Axes",
    figure: "Figure",
    table: pd.DataFrame,
    donors: list[str],
    markers: list[str],
    cell_px: float,
    is_unknown: bool,
) -> None:
    """Some donors' rows; `is_unknown` where no trait is known of anybody."""
    axes.set_xlim(0, len(markers))
    axes.set_ylim(len(donors), 0)
    for side in axes.spines.values():
        side.set_visible(False)
    has_traits = table.groupby("donor")["has_traits"].all() | is_unknown
    names = [
        charts.shorten(figure, name, _NAME_PX, charts.SMALL_PX)
        + ("" if has_traits[name] else _NO_TRAITS)
        for name in donors
    ]
    axes.set_yticks(np.arange(len(donors)) + 0.5, names)
    for label, name in zip(axes.get_yticklabels(), donors, strict=True):
        label.set_color(charts.INK if has_traits[name] else charts.VERMILLION)
    shown = [charts.shorten(figure, name, cell_px * 1.12, charts.SMALL_PX) for name in markers]
    axes.set_xticks(np.arange(len(markers)) + 0.5, shown)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=6)
    rows = {(row.donor, row.marker): row for row in table.itertuples()}
    for y, donor in enumerate(donors):
        for x, marker in enumerate(markers):
            _draw_cell(axes, x, y, rows.get((donor, marker)), cell_px)


def _draw_cell(axes: "Axes", x: int, y: int, row: Any, cell_px: float) -> None:
    from matplotlib.patches import Polygon, Rectangle

    state, words = _judge(row)
    axes.add_patch(Rectangle((x + 0.02, y + 0.05), 0.96, 0.9, color=state.fill, linewidth=0))
    if row is not None and row.n_passing_quality < row.n_shown:
        edge = 9 / cell_px
        right, top = x + 0.98, y + 0.05
        corner = [(right - edge, top), (right, top), (right, top + 9 / _ROW_PX)]
        axes.add_patch(Polygon(corner, color=charts.BLUE, linewidth=0))
    size = charts.SMALL_PX if len(words) * 9 < cell_px else charts.SMALL_PX - 3
    axes.text(
        x + 0.5,
        y + 0.52,
        words,
        ha="center",
        va="center",
        fontsize=charts.points(size),
        color=state.ink,
        fontweight=state.weight,
    )


def _judge(row: Any) -> tuple[_State, str]:
    """State of a cell and what is written in it; None stands for a pair without a row."""
    if row is None:
        return _UNASKED, "–"
    n_done = int(row.n_shown)
    n_wanted = int(row.n_found if pd.isna(row.n_expected) else row.n_expected)
    if not n_wanted and not n_done:
        return _UNASKED, "–"
    if n_done >= n_wanted:
        return _COMPLETE, f"{n_done}"
    return (_PARTLY if n_done else _NONE), f"{n_done}/{n_wanted}"


def _write_legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=state.fill, label=state.words)
        for state in (_COMPLETE, _PARTLY, _NONE, _UNASKED)
    ]
    handles.append(
        Line2D([], [], marker="v", color=charts.BLUE, linestyle="none", label="some fail quality")
    )
    handles.append(
        Line2D([], [], marker="$†$", color=charts.VERMILLION, linestyle="none", label="no traits")
    )
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.008, 0.0),
        ncols=len(handles),
        frameon=False,
        fontsize=charts.points(charts.SMALL_PX),
        labelcolor=charts.INK,
        columnspacing=1.4,
        handletextpad=0.5,
        handlelength=1.3,
    )
