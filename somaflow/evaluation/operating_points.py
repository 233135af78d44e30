"""Which thresholds to use: scores of every setting of a sweep, and two chosen ones.

Enters: counts of a threshold sweep on val, a row a tile and setting. Leaves: a row a setting, then
two operating points a recipe and marker. Refuses: rows of any split but val, since whatever is
chosen here is scored on test afterwards, once.
"""

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.pooling import add_overall, check_counts, pooled_metrics
from somaflow.recipes import Recipe

SETTING = ("cellprob_threshold", "flow_threshold", "min_size_px")
"""Columns that make up a setting."""
BEST_F1, PRECISE = "best-f1", "precise"
_SCORES = ["precision_pooled", "recall_pooled", "f1_pooled", "ap50_image_mean"]


def pooled_settings(swept: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores of every recipe, marker and setting over all val tiles.

    Args:
        swept: a row a recipe, tile and setting: recipe, marker, split (only "val"), tile_id,
            cellprob_threshold, flow_threshold, min_size_px, tp, fp, fn.

    Returns:
        A row a recipe, marker (first "all") and setting: recipe, split, marker, the setting,
        n_images, tp, fp, fn, n_reference, n_predicted, precision_pooled, recall_pooled,
        f1_pooled, ap50_image_mean.

    Raises:
        ScoringError: if there are rows of another split, none at all, or a column is missing.
    """
    keys = ["recipe", "split", "marker", *SETTING]
    check_counts(swept, keys)
    _check_val(swept)
    pooled = pooled_metrics(add_overall(swept), by=keys)
    sizes = ["n_images", "tp", "fp", "fn", "n_reference", "n_predicted"]
    return pooled[[*keys, *sizes, *_SCORES]]


def choose_operating_points(pooled: pd.DataFrame, required_recall: float) -> pd.DataFrame:
    """Returns two settings a recipe and marker, chosen on val.

    `best-f1` has the best F1. `precise` has the best precision among the settings with at least
    the required recall (at equal precision the higher recall); where none has it, the one with
    the highest recall (at equal recall the higher precision), and `reached` is False. Of settings
    that are still equal the one fewest grid steps away from Cellpose's defaults is taken.

    Args:
        pooled: from `pooled_settings`.
        required_recall: of the precise point, in (0, 1).

    Returns:
        Two rows a recipe and marker: the columns of `pooled` with `point` and `reached` after
        the marker.

    Raises:
        ScoringError: if there are rows of another split than val.
    """
    _check_val(pooled)
    ranked = pooled.assign(_steps=_steps_from_defaults(pooled))
    ranked[_SCORES] = ranked[_SCORES].fillna(-np.inf)
    rows = []
    for _, group in ranked.groupby(["recipe", "marker"], sort=False):
        enough = group[group["recall_pooled"] >= required_recall]
        reached = not enough.empty
        precise = (
            _first(enough, ["precision_pooled", "recall_pooled"])
            if reached
            else _first(group, ["recall_pooled", "precision_pooled"])
        )
        rows.append((_first(group, ["f1_pooled"]), BEST_F1, True))
        rows.append((precise, PRECISE, reached))
    places, points, reaches = zip(*rows, strict=True)
    chosen = pooled.loc[list(places)].reset_index(drop=True)
    at = list(chosen.columns).index("marker") + 1
    chosen.insert(at, "point", points)
    chosen.insert(at + 1, "reached", reaches)
    return chosen


def _first(group: pd.DataFrame, best: list[str]) -> object:
    """Returns the index of the row with the highest `best` columns, then the nearest setting."""
    keys = [*best, "_steps", *SETTING]
    ascending = [False] * len(best) + [True] * (1 + len(SETTING))
    return group.sort_values(keys, ascending=ascending, kind="stable").index[0]


def _steps_from_defaults(pooled: pd.DataFrame) -> np.ndarray:
    """Returns how many steps of the grid each setting is away from Cellpose's defaults, (N,)."""
    defaults = Recipe()
    steps = np.zeros(len(pooled), dtype=np.int64)
    for name in SETTING:
        values = _ordered(name, pooled[name].to_numpy(dtype=np.float64))
        grid, place = np.unique(values, return_inverse=True)
        default = float(getattr(defaults, name))
        steps += np.abs(place - int(np.argmin(np.abs(grid - default))))
    return steps


def _ordered(name: str, values: np.ndarray) -> np.ndarray:
    """Returns thresholds from strict to lax: a flow threshold of 0 is none, the laxest of all."""
    return np.where(values == 0, np.inf, values) if name == "flow_threshold" else values


def _check_val(table: pd.DataFrame) -> None:
    others = sorted(set(table["split"].astype(str)) - {"val"})
    if others:
        raise ScoringError(
            f"thresholds must be chosen on val alone, found rows of {', '.join(others)}; "
            "select the val tiles, and score the chosen setting on test once"
        )
