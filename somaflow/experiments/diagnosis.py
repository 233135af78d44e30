"""Why a marker does badly: where its cells are lost, and what would bring them back, in words.

Enters: what became of each reference cell and each proposed object of one recipe on val, the
scores of its threshold grid, and the scores of all recipes. Leaves: a `Diagnosis`, whose page a
biologist can read. Refuses: tables that are not of the same tiles.

An object that outlines a cell well belongs to that cell alone, so the well-outlined objects that a
check removed in a tile are as many as the cells lost to it. An object that was kept is a cell's own
if both name the same IoU as their best. Nothing here is chosen; thresholds and recipes are compared
on val alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.pooling import select_rows
from somaflow.evaluation.scores import OVERALL
from somaflow.recipes import Recipe

FOUND = "found"
BELOW_CELLPROB, IN_PART = "below cellprob", "in part"
BY_FLOW, BY_SIZE = "flow check", "size"
MERGED, OUTLINE, BY_GATE = "merged", "outline", "gate"
CAUSES = (BELOW_CELLPROB, IN_PART, BY_FLOW, BY_SIZE, MERGED, OUTLINE, BY_GATE)
"""Why a reference cell is not found; each cell has one cause at most."""

_THRESHOLDS = ("cellprob_threshold", "flow_threshold", "min_size_px")
# Cellpose fills holes last, and an object in a hole becomes part of the one around it.
_REMOVED_BY = {"flow": BY_FLOW, "size": BY_SIZE, "hole": MERGED}
# An object this many times as large as a cell that it overlaps best holds more than this cell.
_MERGED_RATIO = 1.5
# A neighbour that touches a cell is no part of it.
_PART_IOU = 0.05
_IOU_DIGITS = 9
_QUARTILES = (0.5, 0.25, 0.75)


@dataclass(frozen=True)
class Sizes:
    """Areas of some cells, px; NaN where there are none."""

    median_px: float
    lower_quartile_px: float
    upper_quartile_px: float


@dataclass(frozen=True)
class ThresholdChange:
    """The best value of one threshold on val, the two others as they are."""

    threshold: str
    now: float
    then: float
    f1_now: float
    f1_then: float
    precision_then: float
    recall_then: float

    @property
    def gain(self) -> float:
        """Of F1."""
        return self.f1_then - self.f1_now


@dataclass(frozen=True)
class Diagnosis:
    """What is known of one marker under one recipe, on val."""

    marker: str
    recipe: Recipe
    """The one set that this marker is segmented with."""
    tiles: pd.DataFrame
    """tile_id, n_reference, n_predicted, tp."""
    causes: dict[str, int]
    """Cells by what became of them: `FOUND` and each of `CAUSES`; they add up to all."""
    reference_sizes: Sizes
    predicted_sizes: Sizes
    cellprob_found: float
    """Median over found cells of their median logit; NaN where none was found."""
    cellprob_missed: float
    changes: tuple[ThresholdChange, ...]
    """A change a threshold that was swept, the most helpful first; only those that help."""
    best_setting: dict[str, float]
    """Of the whole grid: the three thresholds and f1_pooled; empty where nothing was swept."""
    recipes: pd.DataFrame
    """Scores of all recipes on this marker on val, the best first."""

    @property
    def n_reference(self) -> int:
        """Reference cells."""
        return int(self.tiles["n_reference"].sum())

    @property
    def n_predicted(self) -> int:
        """Predicted cells."""
        return int(self.tiles["n_predicted"].sum())

    @property
    def main_cause(self) -> str:
        """The one of `CAUSES` that most cells are lost to, `FOUND` where none is lost."""
        cause = max(CAUSES, key=lambda name: self.causes[name])
        return cause if self.causes[cause] else FOUND

    def markdown(self) -> str:
        """The diagnosis as a page: in short, then each finding with its numbers."""
        from somaflow.experiments.diagnosis_page import write_page

        return write_page(self)


def diagnose_marker(
    marker: str,
    recipe: Recipe,
    per_tile: pd.DataFrame,
    reference_cells: pd.DataFrame,
    candidates: pd.DataFrame,
    pooled: pd.DataFrame,
    scores: pd.DataFrame,
) -> Diagnosis:
    """What becomes of a marker's cells under a recipe, and what would help, on val.

    Rows of other markers, recipes and splits are left out of every table that names them.

    Args:
        marker: such as OLIG2.
        recipe: with the thresholds that the other tables were made with.
        per_tile: a row a tile: tile_id, n_reference, n_predicted, tp.
        reference_cells: a row a reference cell: tile_id, label, area_px, cellprob_median (logit),
            best_iou (with any object kept), found.
        candidates: a row an object at the recipe's cellprob threshold, before any check: tile_id,
            label, area_px, best_iou (with any cell), matches, kept, removed_by ("", "flow",
            "size" or "hole").
        pooled: from `pooled_settings`.
        scores: from `compare_recipes`.

    Raises:
        ScoringError: if there is no tile of this marker, or the tables are of different tiles.
    """
    chosen = recipe.for_marker(marker)
    names = {"marker": marker, "recipe": recipe.name, "split": "val"}
    tiles, cells, objects, grid = (
        select_rows(table, names) for table in (per_tile, reference_cells, candidates, pooled)
    )
    tiles = tiles[["tile_id", "n_reference", "n_predicted", "tp"]].reset_index(drop=True)
    _check(tiles, cells, marker, recipe.name)
    causes = _count_causes(cells, objects, chosen, int(tiles["tp"].sum()))
    found = cells["found"].astype(bool)
    ranked = select_rows(scores, {"marker": marker, "split": "val"})
    return Diagnosis(
        marker=marker,
        recipe=chosen,
        tiles=tiles,
        causes=causes,
        reference_sizes=_sizes(cells["area_px"]),
        predicted_sizes=_sizes(objects.loc[objects["kept"].astype(bool), "area_px"]),
        cellprob_found=float(cells.loc[found, "cellprob_median"].median()),
        cellprob_missed=float(cells.loc[~found, "cellprob_median"].median()),
        changes=_find_changes(grid, chosen, _f1(tiles)),
        best_setting=_best_setting(grid),
        recipes=ranked.sort_values("f1_pooled", ascending=False, kind="stable", ignore_index=True),
    )


def worst_marker(scores: pd.DataFrame, recipe: str | None = None) -> str:
    """The marker with the lowest F1 on val.

    Args:
        scores: from `compare_recipes`; where val is missing, all rows count.
        recipe: whose F1; if not given, the mean over all recipes.

    Raises:
        ScoringError: if no marker was scored.
    """
    rows = scores[scores["marker"] != OVERALL]
    if recipe is not None:
        rows = rows[rows["recipe"] == recipe]
    if (rows["split"] == "val").any():
        rows = rows[rows["split"] == "val"]
    if rows.empty:
        raise ScoringError(
            f"the worst marker needs scores of at least one marker, got none of {len(scores)} rows"
            f"{'' if recipe is None else f' for {recipe}'}; pass the table of compare_recipes"
        )
    return str(rows.groupby("marker", sort=True)["f1_pooled"].mean().idxmin())


def _check(tiles: pd.DataFrame, cells: pd.DataFrame, marker: str, recipe: str) -> None:
    counted = tiles.set_index("tile_id")["n_reference"]
    listed = cells.groupby("tile_id").size().reindex(counted.index, fill_value=0)
    wrong = [str(tile) for tile in counted.index[counted != listed]]
    unknown = {str(tile) for tile in cells["tile_id"]} - {str(tile) for tile in counted.index}
    if tiles.empty or wrong or unknown:
        raise ScoringError(
            "a diagnosis must be made from tables of the same tiles, got "
            f"{len(tiles)} tiles of {marker} with {int(counted.sum())} reference cells, and "
            f"{len(cells)} cells listed, for {recipe} on val (they differ in "
            f"{', '.join([*wrong, *sorted(unknown)][:5]) or 'nothing'}); sweep these tiles again"
        )


def _f1(tiles: pd.DataFrame) -> float:
    both = int(tiles["n_reference"].sum() + tiles["n_predicted"].sum())
    return 2 * int(tiles["tp"].sum()) / both if both else 1.0


def _count_causes(
    cells: pd.DataFrame, objects: pd.DataFrame, recipe: Recipe, n_right: int
) -> dict[str, int]:
    """Cells by what became of them; all names are there, also with 0."""
    causes = dict.fromkeys((FOUND, *CAUSES), 0)
    objects_of = dict(list(objects.groupby("tile_id")))
    for tile_id, own in cells.groupby("tile_id"):
        there = objects_of.get(tile_id, objects.iloc[:0])
        for name, count in _count_fates(own, there, recipe.cellprob_threshold).items():
            causes[name] += count
    if recipe.gate:
        causes[BY_GATE] = max(causes[FOUND] - n_right, 0)
        causes[FOUND] -= causes[BY_GATE]
    return causes


def _count_fates(
    cells: pd.DataFrame, objects: pd.DataFrame, cellprob_threshold: float
) -> dict[str, int]:
    """Cells of one tile by what became of them before any gate."""
    missed = cells[~cells["found"].astype(bool)]
    is_below = missed["cellprob_median"] <= cellprob_threshold
    # A well-outlined object covers most of its cell, so the cell lies above the threshold; what
    # was removed leaves the cell with little overlap, so these come first.
    proposed = missed[~is_below].sort_values("best_iou", kind="stable")
    is_part = is_below & (missed["best_iou"] >= _PART_IOU)
    fates = {
        FOUND: len(cells) - len(missed),
        BELOW_CELLPROB: int((is_below & ~is_part).sum()),
        IN_PART: int(is_part.sum()),
    }
    n_removed = 0
    lost = objects[objects["matches"].astype(bool) & ~objects["kept"].astype(bool)]
    for reason, cause in _REMOVED_BY.items():
        count = min(int((lost["removed_by"] == reason).sum()), len(proposed) - n_removed)
        fates[cause] = fates.get(cause, 0) + count
        n_removed += count
    rest = proposed.iloc[n_removed:]
    n_merged = _count_merged(rest, objects[objects["kept"].astype(bool)])
    fates[MERGED] += n_merged
    fates[OUTLINE] = len(rest) - n_merged
    return fates


def _count_merged(cells: pd.DataFrame, kept: pd.DataFrame) -> int:
    """Cells that lie in an object much larger than they, or one that another cell fills better."""
    areas: dict[float, float] = {}
    for iou, area_px in zip(kept["best_iou"], kept["area_px"], strict=True):
        areas[round(iou, _IOU_DIGITS)] = area_px
    n_merged = 0
    for iou, area_px in zip(cells["best_iou"], cells["area_px"], strict=True):
        own_px = areas.get(round(iou, _IOU_DIGITS), np.inf)
        n_merged += iou > 0 and own_px >= _MERGED_RATIO * area_px
    return n_merged


def _sizes(area_px: pd.Series) -> Sizes:
    median, lower, upper = (float(area_px.quantile(share)) for share in _QUARTILES)
    return Sizes(median, lower, upper)


def _find_changes(grid: pd.DataFrame, recipe: Recipe, f1: float) -> tuple[ThresholdChange, ...]:
    """The best change of each threshold, if it raises F1, the greatest gain first."""
    now = {name: float(getattr(recipe, name)) for name in _THRESHOLDS}
    at = {name: np.isclose(grid[name].to_numpy(dtype=np.float64), now[name]) for name in now}
    here = grid[np.logical_and.reduce(list(at.values()))]
    f1_now = float(here["f1_pooled"].iloc[0]) if len(here) else f1
    changes = []
    for name in _THRESHOLDS:
        others = [at[other] for other in _THRESHOLDS if other != name]
        rows = grid[np.logical_and.reduce(others)].dropna(subset=["f1_pooled"])
        if rows.empty:
            continue
        # Of equally good values the nearest one.
        distance = (rows[name] - now[name]).abs()
        best = _first(rows.assign(_distance=distance).sort_values("_distance", kind="stable"))
        change = ThresholdChange(
            threshold=name,
            now=now[name],
            then=float(best[name]),
            f1_now=f1_now,
            f1_then=float(best["f1_pooled"]),
            precision_then=float(best["precision_pooled"]),
            recall_then=float(best["recall_pooled"]),
        )
        changes += [change] if change.gain > 0 else []
    return tuple(sorted(changes, key=lambda change: -change.gain))


def _best_setting(grid: pd.DataFrame) -> dict[str, float]:
    rows = grid.dropna(subset=["f1_pooled"])
    if rows.empty:
        return {}
    best = _first(rows)
    return {name: float(best[name]) for name in (*_THRESHOLDS, "f1_pooled")}


def _first(rows: pd.DataFrame) -> dict[Any, Any]:
    """The row with the best F1, the first of equal ones."""
    ranked = rows.sort_values("f1_pooled", ascending=False, kind="stable")
    best: dict[Any, Any] = ranked.iloc[0].to_dict()
    return best
