"""The hybrid: for each marker the recipe that is best on val.

Enters: counts of several recipes, a row an image, and the recipes. Leaves: one composite `Recipe`
and a table that says what was chosen over what. Only val rows are looked at: test rows may be in
the table and change nothing. On val itself the hybrid's score is the best of several, so too good;
test says what it is worth.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.pooling import add_overall, check_counts, pooled_metrics
from somaflow.evaluation.scores import OVERALL
from somaflow.recipes import Recipe

_COLUMNS = [
    "marker",
    "recipe",
    "val_f1_pooled",
    "runner_up",
    "runner_up_val_f1_pooled",
    "n_val_tiles",
    "reason",
]


def choose_hybrid(
    counts: pd.DataFrame, recipes: Sequence[Recipe], name: str = "hybrid"
) -> tuple[Recipe, pd.DataFrame]:
    """Returns the recipe with the best set per marker, and the table of choices; on val alone.

    The best has the highest pooled F1; of equal ones the earlier in `recipes` is taken, so the
    baseline should come first. The set for any other marker, and for a marker without val tiles,
    is that of the recipe with the best F1 over all val tiles.

    Args:
        counts: a row an image: recipe, split, marker, tile_id, tp, fp, fn. Recipes that are not
            in `recipes` are left out.
        recipes: what to choose from, at least one; each scored on the same val tiles.
        name: of the recipe returned.

    Returns:
        The recipe, and a row a marker, first "all": marker, recipe, val_f1_pooled, runner_up
        ("" = none), runner_up_val_f1_pooled, n_val_tiles, reason.

    Raises:
        ScoringError: if a recipe was not scored on val, or on other val tiles than the first.
    """
    check_counts(counts, ["recipe", "split", "marker", "tile_id"])
    names = [recipe.name for recipe in recipes]
    val = counts[(counts["split"] == "val") & counts["recipe"].isin(names)]
    _check_tiles(val, names)
    # A row a recipe, in the order in which ties are decided, and a column a marker.
    f1 = pooled_metrics(add_overall(val), by=["marker", "recipe"]).pivot(
        index="recipe", columns="marker", values="f1_pooled"
    )
    f1 = f1.loc[names]
    n_tiles = add_overall(val[val["recipe"] == names[0]])["marker"].value_counts()
    markers = [OVERALL, *sorted(counts["marker"].unique())]
    rows = [_choose(marker, f1, n_tiles) for marker in markers]
    choices = pd.DataFrame(rows, columns=_COLUMNS)
    by_name = {recipe.name: recipe for recipe in recipes}
    chosen = dict(zip(choices["marker"], choices["recipe"], strict=True))
    best = by_name[chosen.pop(OVERALL)]
    per_marker = {marker: by_name[recipe].for_marker(marker) for marker, recipe in chosen.items()}
    # A composite that is best overall keeps its sets for markers that no tile has.
    return best.model_copy(
        update={"name": name, "per_marker": {**best.per_marker, **per_marker}}
    ), choices


def _choose(marker: str, f1: pd.DataFrame, n_tiles: pd.Series) -> dict[str, object]:
    if marker not in f1:
        best = _ranked(f1[OVERALL])
        return {
            "marker": marker,
            "recipe": best.index[0],
            "val_f1_pooled": np.nan,
            "runner_up": "",
            "runner_up_val_f1_pooled": np.nan,
            "n_val_tiles": 0,
            "reason": "no val tiles of this marker: best over all val tiles",
        }
    ranked = _ranked(f1[marker])
    return {
        "marker": marker,
        "recipe": ranked.index[0],
        "val_f1_pooled": float(ranked.iloc[0]),
        "runner_up": ranked.index[1] if len(ranked) > 1 else "",
        "runner_up_val_f1_pooled": float(ranked.iloc[1]) if len(ranked) > 1 else np.nan,
        "n_val_tiles": int(n_tiles[marker]),
        "reason": "best F1 on val",
    }


def _ranked(f1: pd.Series) -> pd.Series:
    return f1.sort_values(ascending=False, kind="stable")


def _check_tiles(val: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuses a choice among recipes that were not scored on the same val tiles."""
    if not names:
        raise ScoringError("a hybrid is chosen among recipes, got none; pass those of e1-recipes")
    tiles = {name: sorted(val.loc[val["recipe"] == name, "tile_id"]) for name in names}
    differ = [name for name in names if tiles[name] != tiles[names[0]] or not tiles[name]]
    if differ:
        raise ScoringError(
            f"every recipe must be scored once on the same val tiles, {names[0]} has "
            f"{len(tiles[names[0]])} rows and {', '.join(differ)} not the same; score them again"
        )
