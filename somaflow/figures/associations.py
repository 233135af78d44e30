"""What cells say about donors: rho of each feature with each trait, as heat map and forest plot.

Enters: the table of associations, joined with what each feature is. Leaves: a `Picture`. Refuses:
a table without rows of the phenotype and region asked for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from somaflow.figures import charts
from somaflow.figures.pictures import Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

ANY = "any"
"""Phenotype of features that need none."""
_NAMES = ("recipe", "marker", "region", "phenotype", "feature", "trait")
_WIDTH_PX = 1360
_RAMP = ("#4f9fd0", "#a9d0e9", "#fbfcfd", "#f8c8a6", "#ee8d52")
_LEAST_LIMIT = 0.3
_BASELINE_SHAPE = "s"
_ROW_PX, _HEADING_PX, _TITLE_PX, _COLUMN_PX = 26, 30, 30, 66
_LEAST_MAP_PX = 110
_WIDEST_CELL_PX, _LEAST_CELL_PX, _LABEL_PX, _GAP_PX = 76, 46, 300, 26
_BAR_PX = 60
_EFFECT_ROW_PX, _EFFECT_TITLE_PX, _EFFECT_AXIS_PX = 34, 36, 58
_FEATURE_PX = 34
_MOST_PANELS = 4


def feature_words(feature: str) -> str:
    """A feature's name as people write it."""
    words = feature.replace("_per_mpx", " per Mpx").replace("_per_mm2", " per mm²")
    return words.replace("_", " ")


def series_style(recipes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and mark of each recipe; the one called baseline is grey, wherever it stands."""
    others = [name for name in recipes if name != "baseline"]
    shapes = [shape for shape in charts.SHAPES if shape != _BASELINE_SHAPE]
    styles = {
        name: (charts.SERIES[place % len(charts.SERIES)], shapes[place % len(shapes)])
        for place, name in enumerate(others)
    }
    return {name: styles.get(name, (charts.BASELINE, _BASELINE_SHAPE)) for name in recipes}


def draw_associations(
    associations: pd.DataFrame, phenotype: str = "p75", region: str = "all"
) -> Picture:
    """A heat map a recipe: features of each marker down, traits to the right, rho as colour.

    Each cell holds its rho; bold and framed are those with q < .05. Rows and columns are the same
    in each map, so that recipes can be compared cell by cell.

    Args:
        associations: a row a feature and trait: recipe, marker, region, phenotype, feature, trait,
            n, rho and q; NaN where undefined.
        phenotype: whose features are shown, with those that need no phenotype ("any").
        region: of the rows to show.

    Raises:
        ScoringError: if there is no such row, or a column is missing.
    """
    shown = _choose(associations, phenotype, region, ["n", "rho", "q"])
    recipes = list(dict.fromkeys(shown["recipe"]))
    rows = shown[["marker", "feature"]].drop_duplicates()
    rows = rows.sort_values("marker", kind="stable")
    traits = list(dict.fromkeys(shown["trait"]))
    n_side = _count_side_by_side(len(traits), len(recipes))
    room = (_WIDTH_PX - 2 * charts.MARGIN_PX - _LABEL_PX - _BAR_PX - n_side * _GAP_PX) / n_side
    cell_px = float(np.clip(room / len(traits), _LEAST_CELL_PX, _WIDEST_CELL_PX))
    map_px = cell_px * len(traits)
    heights = _place_rows(rows)
    map_height = max(heights[-1] + _ROW_PX, _LEAST_MAP_PX)
    block = _TITLE_PX + _COLUMN_PX + map_height + 20
    n_blocks = -(-len(recipes) // n_side)
    needed = charts.MARGIN_PX * 2 + _LABEL_PX + n_side * (map_px + _GAP_PX) + _BAR_PX
    figure = charts.new_figure(max(1000, needed), charts.HEADER_PX + n_blocks * block + 12)
    charts.write_header(figure, *_describe_map(shown, phenotype, region))
    limit = _find_limit(shown["rho"].to_numpy(dtype=np.float64))
    for place, recipe in enumerate(recipes):
        down, right = divmod(place, n_side)
        left = charts.MARGIN_PX + _LABEL_PX + right * (map_px + _GAP_PX)
        top = charts.HEADER_PX + down * block + _TITLE_PX + _COLUMN_PX
        axes = charts.add_panel(figure, left, top, map_px, map_height)
        name_px = map_px if n_side > 1 else max(map_px, 1000 - left - charts.MARGIN_PX)
        name = charts.shorten(figure, recipe, name_px, charts.TEXT_PX)
        charts.write(figure, name, left, top - _COLUMN_PX - 8, weight="bold")
        _draw_map(axes, shown[shown["recipe"] == recipe], rows, heights, traits, limit)
        if right == 0:
            _write_rows(figure, rows, heights, top)
    _draw_bar(figure, charts.MARGIN_PX + _LABEL_PX + n_side * (map_px + _GAP_PX), limit, map_height)
    return render(figure)


def _choose(
    table: pd.DataFrame, phenotype: str, region: str, numbers: Sequence[str]
) -> pd.DataFrame:
    """Rows of one phenotype and region."""
    charts.require_rows(table, [*_NAMES, *numbers], "associations to draw")
    wanted = table["phenotype"].isin([phenotype, ANY]) & (table["region"] == region)
    what = f"associations of phenotype {phenotype} in region {region} to draw"
    charts.require_rows(table[wanted], ["recipe"], what)
    return table[wanted]


def _count_side_by_side(n_traits: int, n_recipes: int) -> int:
    """Maps that fit beside each other."""
    room = _WIDTH_PX - 2 * charts.MARGIN_PX - _LABEL_PX - _BAR_PX
    fitting = int(room // (n_traits * _LEAST_CELL_PX + _GAP_PX))
    return max(1, min(fitting, n_recipes, 2))


def _place_rows(rows: pd.DataFrame) -> np.ndarray:
    """Upper edge of each row in px, room for a heading above each marker's first."""
    is_first = ~rows["marker"].duplicated().to_numpy()
    return np.cumsum(np.where(is_first, _HEADING_PX, 0)) + np.arange(len(rows)) * _ROW_PX


def _describe_map(shown: pd.DataFrame, phenotype: str, region: str) -> tuple[str, str]:
    known = shown.dropna(subset=["rho"])
    n_clear = int((known["q"] < 0.05).sum())
    where = "" if region == "all" else f", {region}"
    return (
        f"Features of cells and traits of donors: Spearman's rho, phenotype {phenotype}{where}",
        f"{n_words(known['n'])} donors. Bold and framed: q < .05 "
        f"({n_clear} of {len(known)}; Benjamini-Hochberg). Grey: undefined.",
    )


def n_words(n: pd.Series) -> str:
    """How many donors, as a range where it varies."""
    if n.empty:
        return "0"
    low, high = int(n.min()), int(n.max())
    return f"{low}" if low == high else f"{low}–{high}"


def _find_limit(rho: np.ndarray) -> float:
    """Where the colours end: the largest |rho|, rounded up, so that weak ones stay pale."""
    known = np.abs(rho[np.isfinite(rho)])
    return max(_LEAST_LIMIT, float(np.ceil(known.max() * 10) / 10)) if known.size else _LEAST_LIMIT


def _colours() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("rho", _RAMP)


def _draw_map(
    axes: "Axes",
    own: pd.DataFrame,
    rows: pd.DataFrame,
    heights: np.ndarray,
    traits: list[str],
    limit: float,
) -> None:
    from matplotlib.patches import Rectangle

    axes.set_xlim(0, len(traits))
    axes.set_ylim(max(heights[-1] + _ROW_PX, _LEAST_MAP_PX), 0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_yticks([])
    axes.set_xticks(np.arange(len(traits)) + 0.35, traits)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=-18)
    for label in axes.get_xticklabels():
        label.set(rotation=40, ha="left", va="bottom", rotation_mode="anchor")
    values = own.set_index(["marker", "feature", "trait"])[["rho", "q"]]
    colours = _colours()
    for top, (marker, feature) in zip(heights, rows.to_numpy().tolist(), strict=True):
        for x, trait in enumerate(traits):
            known = values.index.isin([(marker, feature, trait)])
            rho, q = values[known].to_numpy(float)[0] if known.any() else (np.nan, np.nan)
            fill = colours(0.5 + rho / limit / 2) if np.isfinite(rho) else "#e6e8ec"
            axes.add_patch(
                Rectangle((x + 0.02, top + 1), 0.96, _ROW_PX - 2, facecolor=fill, linewidth=0)
            )
            if q < 0.05:
                frame = Rectangle((x + 0.05, top + 2.5), 0.9, _ROW_PX - 5, fill=False)
                frame.set(edgecolor=charts.INK, linewidth=1.6)
                axes.add_patch(frame)
            axes.text(
                x + 0.5,
                top + _ROW_PX / 2 + 0.5,
                format_rho(rho),
                ha="center",
                va="center",
                fontsize=charts.points(charts.SMALL_PX - 1),
                fontweight="bold" if q < 0.05 else "normal",
                color=charts.INK,
            )


def format_rho(rho: float) -> str:
    """A rho as people write it, "−.31"; a dash where it is undefined."""
    if not np.isfinite(rho):
        return "–"
    return f"{rho:z.2f}".replace("0.", ".").replace("-", "−")


def _write_rows(figure: "Figure", rows: pd.DataFrame, heights: np.ndarray, top: float) -> None:
    """Markers as headings, features as row names."""
    width = _LABEL_PX - 18
    is_first = ~rows["marker"].duplicated().to_numpy()
    pairs = rows.to_numpy().tolist()
    for height, first, (marker, feature) in zip(heights, is_first, pairs, strict=True):
        if first:
            charts.write(
                figure, marker, charts.MARGIN_PX, top + height - 12, charts.TEXT_PX, weight="bold"
            )
        words = charts.shorten(figure, feature_words(feature), width * 1.1, charts.SMALL_PX)
        y = top + height + _ROW_PX / 2
        charts.write(figure, words, charts.MARGIN_PX + 10, y, charts.SMALL_PX)


def _draw_bar(figure: "Figure", left: float, limit: float, height: float) -> None:
    """The colour scale, to the right of the first row of maps."""
    top = charts.HEADER_PX + _TITLE_PX + _COLUMN_PX + _HEADING_PX
    axes = charts.add_panel(figure, left, top, 14, min(height - _HEADING_PX, 220))
    axes.imshow(
        np.linspace(1, 0, 256)[:, np.newaxis],
        cmap=_colours(),
        aspect="auto",
        extent=(0, 1, -limit, limit),
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([-limit, 0, limit], [format_rho(-limit), "0", format_rho(limit)])
    for side in axes.spines.values():
        side.set_visible(False)


def draw_effects(
    associations: pd.DataFrame, phenotype: str = "p75", region: str = "all"
) -> Picture:
    """A forest plot: a panel a marker and feature, a row a trait, rho of each recipe side by side.

    Bars are 95 % intervals. In the grey band lie those rho that are not significant (p < .05) with
    as many donors.

    Args:
        associations: as for `draw_associations`, with rho_low and rho_high; only the few features
            to be drawn.
        phenotype: whose features are shown, with those that need no phenotype.
        region: of the rows to show.

    Raises:
        ScoringError: if there is no such row, or a column is missing.
    """
    ends = ["rho", "rho_low", "rho_high"]
    shown = _choose(associations, phenotype, region, ["n", *ends])
    recipes, traits = list(dict.fromkeys(shown["recipe"])), list(dict.fromkeys(shown["trait"]))
    markers, features = sorted(set(shown["marker"])), list(dict.fromkeys(shown["feature"]))
    panels = [(feature, marker) for feature in features for marker in markers]
    n_columns = min(len(markers), _MOST_PANELS)
    row_px = max(_EFFECT_ROW_PX, 14 + 12 * len(recipes))
    block = _EFFECT_TITLE_PX + row_px * len(traits) + _EFFECT_AXIS_PX
    heading_px = _FEATURE_PX if len(features) > 1 else 0
    group = heading_px + -(-len(markers) // n_columns) * block
    figure = charts.new_figure(_WIDTH_PX, charts.HEADER_PX + len(features) * group + 44)
    charts.write_header(figure, *_describe_effects(shown, features, phenotype, region))
    limit = max(0.5, _find_limit(shown[ends].to_numpy(dtype=np.float64) * 1.05))
    names_px = 20 + max(charts.measure_px(figure, name, charts.SMALL_PX) for name in traits)
    cell = (_WIDTH_PX - 2 * charts.MARGIN_PX - names_px) / n_columns
    style = series_style(recipes)
    for place, (feature, marker) in enumerate(panels):
        above = charts.HEADER_PX + place // len(markers) * group
        down, right = divmod(place % len(markers), n_columns)
        if heading_px and place % len(markers) == 0:
            words = feature_words(feature)
            charts.write(figure, words, charts.MARGIN_PX, above + 10, weight="bold")
        top = above + heading_px + down * block + _EFFECT_TITLE_PX
        left = charts.MARGIN_PX + names_px + right * cell
        heading = charts.shorten(figure, marker, cell - 20)
        axes = charts.add_panel(figure, left, top, cell - 22, row_px * len(traits), heading)
        own = shown[(shown["feature"] == feature) & (shown["marker"] == marker)]
        _draw_forest(axes, own, traits, style, min(limit, 1.0))
        axes.set_yticks(range(len(traits)), [""] * len(traits) if right else traits)
        charts.label_axes(axes, x="Spearman's rho")
    write_series(figure, style, band=True)
    return render(figure)


def _describe_effects(
    shown: pd.DataFrame, features: list[str], phenotype: str, region: str
) -> tuple[str, str]:
    what = feature_words(features[0]) if len(features) == 1 else "features of cells"
    where = "" if region == "all" else f", {region}"
    return (
        f"Associations with traits of donors: {what}, phenotype {phenotype}{where}",
        f"{n_words(shown.dropna(subset=['rho'])['n'])} donors; bar: 95 % interval over donors. "
        "Inside the grey band: not significant (p ≥ .05) with as many donors.",
    )


def _draw_forest(
    axes: "Axes",
    own: pd.DataFrame,
    traits: list[str],
    style: dict[str, tuple[str, str]],
    limit: float,
) -> None:
    axes.set_xlim(-limit, limit)
    axes.set_ylim(len(traits) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, pad=8)
    # None at the edges, where they would meet the next panel's.
    step = 0.5 if limit > 0.6 else 0.25
    axes.set_xticks([-step, 0, step])
    axes.grid(axis="x", color=charts.GRID, linewidth=1)
    band = _find_band(own["n"])
    axes.axvspan(-band, band, color="#eceef2", linewidth=0, zorder=0)
    axes.axvline(0, color=charts.FAINT, linewidth=1.4, zorder=1)
    if own["rho"].isna().all():
        write_undefined(axes)
    shifts = np.linspace(-0.24, 0.24, len(style)) if len(style) > 1 else np.zeros(1)
    for shift, (recipe, (colour, mark)) in zip(shifts, style.items(), strict=True):
        rows = own[own["recipe"] == recipe].drop_duplicates("trait").set_index("trait")
        ends = rows[["rho", "rho_low", "rho_high"]].reindex(traits).to_numpy(float)
        for y, (rho, low, high) in enumerate(ends):
            axes.plot([low, high], [y + shift] * 2, color=colour, linewidth=2, zorder=3)
            axes.plot(
                [rho],
                [y + shift],
                mark,
                color=colour,
                markersize=charts.points(9),
                markeredgecolor="white",
                markeredgewidth=0.7,
                zorder=4,
            )


def _find_band(n: pd.Series) -> float:
    """The |rho| that is significant with the fewest donors of a panel; none below five."""
    from somaflow.donors.power import find_smallest_significant_rho

    known = n.dropna()
    usable = int(known[known >= 5].min()) if (known >= 5).any() else 0
    return find_smallest_significant_rho(usable) if usable else 0.0


def write_undefined(axes: "Axes") -> None:
    """Says of an empty panel that it is empty."""
    axes.text(
        0.5,
        0.5,
        "undefined",
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=charts.points(charts.SMALL_PX),
        color=charts.MUTED,
    )


def write_series(figure: "Figure", style: dict[str, tuple[str, str]], band: bool = False) -> None:
    """Which mark is which recipe, in a line at the bottom."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, marker=mark, markersize=charts.points(10), label=name)
        for name, (colour, mark) in style.items()
    ]
    if band:
        handles.append(Patch(color="#dfe2e8", label="p ≥ .05"))
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.01, 0.0),
        ncols=min(len(handles), 6),
        frameon=False,
        fontsize=charts.points(charts.TEXT_PX),
        labelcolor=charts.INK,
    )
