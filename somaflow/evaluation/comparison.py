"""Recipes side by side: scores, paired differences against a baseline, and spread over seeds.

Enters: counts of several recipes on the same tiles, a row an image. Leaves: tables that people
read. Refuses: recipes scored on different tiles, a baseline that was not scored.
"""

from collections.abc import Mapping

import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.pooling import add_overall, check_counts, pooled_metrics
from somaflow.evaluation.scores import OVERALL
from somaflow.evaluation.summary import compare, summarise

SEED_METRICS = ("f1_pooled", "ap50_image_mean", "precision_pooled", "recall_pooled")
_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}
_GROUP = ["split", "split_level", "marker"]


def compare_recipes(
    counts: pd.DataFrame, baseline: str, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Returns scores of every recipe and their paired differences against the baseline.

    A difference is recipe minus baseline on the same donors and the same resamples; it is exactly
    0 for the baseline itself.

    Args:
        counts: a row an image, from `score_tiles`, of all recipes; each on the same tiles.
        baseline: the recipe that the others are compared with.
        n_resamples: bootstrap resamples.
        seed: of the resampling.

    Returns:
        A row a split, marker (first "all") and recipe (first the baseline, then as they appear):
        split, split_level, marker, recipe, then the columns of `summarise`, then
        <metric>_difference, <metric>_difference_low and <metric>_difference_high of each metric.

    Raises:
        ScoringError: if the baseline has no rows, or a recipe was scored on other tiles.
    """
    check_counts(counts, ["recipe", "tile_id", *_GROUP])
    recipes = list(dict.fromkeys([baseline, *counts["recipe"]]))
    if baseline not in set(counts["recipe"]):
        raise ScoringError(
            f"the baseline must have been scored, found no rows of {baseline!r} among "
            f"{', '.join(recipes[1:])}; score it on the same tiles"
        )
    both = add_overall(counts)
    keys = [*_GROUP, "recipe"]
    scores = summarise(both, by=keys, n_resamples=n_resamples, seed=seed)
    differences = [
        _differences(both, baseline, recipe, n_resamples, seed).assign(recipe=recipe)
        for recipe in recipes
    ]
    table = scores.merge(pd.concat(differences), on=keys, how="left", validate="one_to_one")
    return _ordered(table, recipes)


def summarise_seeds(counts: pd.DataFrame, recipe_of: Mapping[str, tuple[str, int]]) -> pd.DataFrame:
    """Returns mean and standard deviation of the scores of a recipe over its training seeds.

    Args:
        counts: a row an image; rows of recipes that are not in `recipe_of` are left out.
        recipe_of: for each scored name, for example `generic-seed1`, its recipe and seed.

    Returns:
        A row a recipe, split and marker (first "all"): recipe, split, marker, n_seeds, then
        <metric>_seed_mean and <metric>_seed_sd for F1, AP50, precision and recall. sd is of a
        sample (n - 1), NaN for one seed. What is undefined for one seed is undefined for all.

    Raises:
        ScoringError: if no row belongs to a recipe of `recipe_of`.
    """
    check_counts(counts, ["recipe", "split", "marker"])
    known = counts[counts["recipe"].isin(list(recipe_of))]
    check_counts(known, [])
    pooled = pooled_metrics(add_overall(known), by=["recipe", "split", "marker"])
    pooled["recipe"] = [recipe_of[name][0] for name in pooled["recipe"]]
    recipes = list(dict.fromkeys(pooled["recipe"]))
    rows = [
        dict(zip(["recipe", "split", "marker"], keys, strict=True)) | _spread(group)
        for keys, group in pooled.groupby(["recipe", "split", "marker"], sort=False)
    ]
    return _ordered(pd.DataFrame(rows), recipes, by_recipe=True)


def _differences(
    counts: pd.DataFrame, baseline: str, recipe: str, n_resamples: int, seed: int
) -> pd.DataFrame:
    rows = {name: counts[counts["recipe"] == name] for name in (baseline, recipe)}
    table = compare(rows[baseline], rows[recipe], by=_GROUP, n_resamples=n_resamples, seed=seed)
    return table[[*_GROUP, *[name for name in table if "_difference" in str(name)]]]


def _spread(group: pd.DataFrame) -> dict[str, float]:
    row: dict[str, float] = {"n_seeds": len(group)}
    for metric in SEED_METRICS:
        row[f"{metric}_seed_mean"] = float(group[metric].mean(skipna=False))
        row[f"{metric}_seed_sd"] = float(group[metric].std(ddof=1, skipna=False))
    return row


def _ordered(table: pd.DataFrame, recipes: list[str], by_recipe: bool = False) -> pd.DataFrame:
    """Sorts by split, marker and recipe (or first by recipe); "all" comes before the markers."""
    place = {recipe: index for index, recipe in enumerate(recipes)}
    order = pd.DataFrame(
        {
            "split": table["split"].map(_SPLIT_ORDER),
            "is_marker": table["marker"] != OVERALL,
            "marker": table["marker"],
            "recipe": table["recipe"].map(place),
        }
    )
    keys = ["split", "is_marker", "marker", "recipe"]
    keys = ["recipe", *keys[:-1]] if by_recipe else keys
    return table.loc[order.sort_values(keys, kind="stable").index].reset_index(drop=True)
