"""The page of each experiment: what was done in words, then tables and pictures.

Enters: finished tables and pictures. Leaves: `Results`. Whatever was chosen on val says so.
"""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from somaflow.evaluation.scores import OVERALL
from somaflow.experiments.diagnosis import diagnose_marker, worst_marker
from somaflow.experiments.results import Results
from somaflow.figures import (
    draw_budget_curve,
    draw_diagnosis,
    draw_gate_effect,
    draw_precision_recall,
    draw_recipe_scores,
    draw_threshold_maps,
)
from somaflow.recipes import Recipe
from somaflow.tables import describe_scores, score_rows, text_rows

_FEW_DONORS = 10
_FAILED = "run(s) failed and are missing here:"
_LEVEL_WORDS = {
    "donor": "Test tiles are of donors that no training and no choice has seen.",
    "image": "Splits are image-level: donors are unknown, so scores may be too good.",
}


def describe_recipes(
    study: str,
    scores: pd.DataFrame,
    choices: pd.DataFrame,
    seeds: pd.DataFrame,
    failures: Sequence[str],
    iou_threshold: float,
    notes: Sequence[str] = (),
) -> Results:
    """The page of e1-recipes, before its overlays.

    Args:
        study: its name.
        scores: from `compare_recipes`, the baseline first.
        choices: from `choose_hybrid`, empty where there is no hybrid.
        seeds: from `summarise_seeds`, empty where there is one seed.
        failures: a line for each training that failed.
        iou_threshold: overlap from which a predicted cell counts as found.
        notes: what a reader should know about the trainings.
    """
    results = Results(f"Recipes of {study}")
    _add_failures(results, failures)
    split = _last_split(scores)
    shown = scores[scores.split == split]
    baseline = str(scores.recipe.iloc[0])
    results.add_words(
        f"{describe_scores(scores, iou_threshold)}. {_level_words(scores)} Differences are "
        f"against {baseline}, paired on the same tiles and resamples. Shown is {split}; "
        "`scores.tsv` has every split."
    )
    results.add_table("scores", scores, score_rows(shown).drop(columns="split"))
    results.add_picture(
        "scores", draw_recipe_scores(scores, split=split), f"F1 pooled on {split}, 95 % intervals"
    )
    for note in notes:
        results.add_words(note)
    if len(choices):
        results.add_words(
            "### Hybrid\n\nPer marker the recipe with the best pooled F1 on val; test had no say."
        )
        names = {
            "marker": "marker",
            "recipe": "recipe",
            "val_f1_pooled": "F1 on val",
            "runner_up": "runner-up",
            "runner_up_val_f1_pooled": "its F1 on val",
            "n_val_tiles": "val tiles",
        }
        results.add_table("hybrid", choices, text_rows(choices, names))
    if len(seeds) and seeds.n_seeds.max() > 1:
        results.add_words("### Seeds\n\nMean and standard deviation over trainings of other seeds.")
        names = {
            "recipe": "recipe",
            "marker": "marker",
            "n_seeds": "seeds",
            "f1_pooled_seed_mean": "F1 mean",
            "f1_pooled_seed_sd": "F1 sd",
            "ap50_image_mean_seed_mean": "AP50 mean",
            "ap50_image_mean_seed_sd": "AP50 sd",
        }
        results.add_table("seeds", seeds, text_rows(seeds[seeds.split == split], names))
    return results


def describe_budgets(
    study: str,
    curve: pd.DataFrame,
    gains: pd.DataFrame,
    runs: pd.DataFrame,
    baseline: Mapping[str, float],
    failures: Sequence[str],
    steps: str,
    level: str,
) -> Results:
    """The page of e2-label-budget.

    Args:
        study: its name.
        curve: from `budget_curve`.
        gains: from `budget_gains`.
        runs: a row a run: budget, repeat, tiles, status and, where it is another's, of which.
        baseline: F1 pooled on the same split of the recipe that all start from, by marker.
        failures: a line for each run that failed.
        steps: how many optimizer steps each run took, in words.
        level: of the splits, `donor` or `image`.
    """
    results = Results(f"Label budgets of {study}")
    _add_failures(results, failures)
    split = str(curve.split.iloc[0])
    results.add_words(
        f"How few labelled tiles are enough? F1 pooled on {split}, mean over repeats; the 95 % "
        "interval draws donors and repeats. Within a repeat a smaller budget is part of the "
        f"larger one's tiles. {steps} {_LEVEL_WORDS[level]}"
    )
    results.add_picture(
        "curve",
        draw_budget_curve(curve, split=split, baseline=dict(baseline)),
        f"F1 pooled on {split} by training tiles a marker; dashed: before fine-tuning",
    )
    names = {
        "marker": "marker",
        "budget": "tiles a marker",
        "n_repeats": "repeats",
        "f1_pooled": "F1 pooled",
        "f1_pooled_sd": "sd over repeats",
        "ap50_image_mean": "AP50 image mean",
    }
    results.add_table("curve", curve, text_rows(curve, names, ("f1_pooled", "ap50_image_mean")))
    if len(gains):
        results.add_words("## What more labels bring\n\nPaired differences in pooled F1.")
        names = {
            "marker": "marker",
            "budget": "tiles a marker",
            "versus_budget": "against",
            "f1_pooled_difference": "F1 difference",
        }
        shown = gains[gains.marker == OVERALL]
        results.add_table("gains", gains, text_rows(shown, names, ("f1_pooled_difference",)))
    results.add_words("## Runs")
    results.add_table("runs", runs, text_rows(runs, {str(name): str(name) for name in runs}))
    return results


def describe_gating(
    recipe: str,
    choices: pd.DataFrame,
    removed: pd.DataFrame,
    scores: pd.DataFrame,
) -> Results:
    """The part of e3-gating that is about one recipe.

    Args:
        recipe: that was gated.
        choices: from `choose_gates`, a row a marker.
        removed: from `describe_removed`, on test.
        scores: raw against gated on test, a row a marker and `gated`, from `compare_recipes`.
    """
    results = Results(recipe)
    results.add_words(
        "Per marker the gate with the best pooled F1 on val, scored once on test. A gate only "
        f"removes cells: recall cannot rise, precision can. {_level_words(scores)}"
    )
    names = {
        "marker": "marker",
        "min_area_px": "min area px",
        "max_area_px": "max area px",
        "min_marker_quantile": "min marker quantile",
        "max_marker_quantile": "max marker quantile",
        "val_f1_pooled_raw": "F1 on val raw",
        "val_f1_pooled_gated": "gated",
        "n_val_tiles": "val tiles",
    }
    name = f"{recipe}-gates"
    results.add_table(name, choices, text_rows(choices, names))
    results.add_table(f"{recipe}-scores", scores, score_rows(scores).drop(columns="split"))
    results.add_picture(
        f"{recipe}-effect",
        draw_gate_effect(removed, scores.assign(gated=scores.recipe != recipe)),
        f"What the gate of {recipe} removed on test, by size, and what it did to the scores",
    )
    results.tables[f"{recipe}-removed"] = removed
    return results


def describe_diagnosis(
    recipe: Recipe,
    tables: Mapping[str, pd.DataFrame],
    pooled: pd.DataFrame,
    scores: pd.DataFrame,
    per_tile: pd.DataFrame,
) -> Results:
    """Where the cells of each marker are lost, in words and pictures, the worst marker first.

    Args:
        recipe: that is looked at.
        tables: of `write_threshold_tables` for it.
        pooled: from `pooled_settings`.
        scores: of all recipes on val, from `compare_recipes`.
        per_tile: counts of the recipe on val, a row a tile.
    """
    worst = worst_marker(scores, recipe.name)
    results = Results(f"Why {worst} does worst ({recipe.name})")
    cells, candidates = tables["reference-cells"], tables["candidates"]
    others = sorted(set(per_tile.marker) - {worst})
    for marker in [worst, *others]:
        picture = draw_diagnosis(marker, recipe, per_tile, cells, candidates, pooled)
        diagnosis = diagnose_marker(marker, recipe, per_tile, cells, candidates, pooled, scores)
        results.add_words(diagnosis.markdown().strip())
        caption = f"Where cells of {marker} are lost under {recipe.name}, on val"
        results.add_picture(f"diagnosis-{marker}", picture, caption)
    results.tables |= {"diagnosis-cells": cells, "diagnosis-candidates": candidates}
    return results


def describe_settings(pooled: pd.DataFrame, points: pd.DataFrame) -> Results:
    """The part of e4-thresholds that is about all recipes at once.

    Args:
        pooled: from `pooled_settings`.
        points: from `choose_operating_points`.
    """
    results = Results("All recipes and settings")
    results.add_words("Every dot is a setting on val, from one pass of the net a tile.")
    results.add_picture(
        "precision-recall",
        draw_precision_recall(pooled, points),
        "Precision and recall of every setting on val; star: best F1, diamond: precise",
    )
    return results


def describe_thresholds(
    recipe: str,
    pooled: pd.DataFrame,
    points: pd.DataFrame,
    scores: pd.DataFrame,
    required_recall: float,
) -> Results:
    """The part of e4-thresholds that is about one recipe.

    Args:
        recipe: that was swept.
        pooled: from `pooled_settings`, of this recipe, on val.
        points: from `choose_operating_points`, of this recipe.
        scores: of default thresholds and both points on test, from `compare_recipes`.
        required_recall: of the precise point.
    """
    results = Results(recipe)
    n_settings = pooled.groupby("marker").size().max()
    results.add_words(
        f"{n_settings} settings of flow, cell probability and size on val, from one pass of the "
        "net a tile. Two operating points a marker, chosen on val: the best F1, and the best "
        f"precision among settings with a recall of at least {required_recall:g}. Test was scored "
        f"once, with the choice fixed. {_level_words(scores)}"
    )
    names = {
        "marker": "marker",
        "point": "point",
        "reached": "recall reached",
        "cellprob_threshold": "cellprob",
        "flow_threshold": "flow",
        "min_size_px": "min size px",
        "precision_pooled": "precision",
        "recall_pooled": "recall",
        "f1_pooled": "F1 on val",
    }
    results.add_table(f"{recipe}-points", points, text_rows(points, names))
    results.add_table(f"{recipe}-test", scores, score_rows(scores).drop(columns="split"))
    results.tables[f"{recipe}-settings"] = pooled
    for marker in [name for name in pooled.marker.unique() if name != OVERALL]:
        results.add_picture(
            f"{recipe}-{marker}-map",
            draw_threshold_maps(pooled, recipe, marker, points),
            f"F1 pooled on val of {recipe} on {marker} by threshold",
        )
    return results


def listed_failures(page: str) -> list[str]:
    """The failed runs that a page lists, a line each; empty if all of its experiment is done."""
    match = re.search(rf"\*\*\d+ {re.escape(_FAILED)}\*\*\n\n((?:- `.*`\n?)+)", page)
    return [] if match is None else [line[3:-1] for line in match[1].splitlines()]


def _add_failures(results: Results, failures: Sequence[str]) -> None:
    if failures:
        listed = "\n".join(f"- `{line.splitlines()[0]}`" for line in failures)
        results.add_words(f"**{len(failures)} {_FAILED}**\n\n{listed}")


def _last_split(scores: pd.DataFrame) -> str:
    present = set(scores.split)
    return next(split for split in ("test", "val", "train") if split in present)


def _level_words(scores: pd.DataFrame) -> str:
    """What the splits are worth, and what intervals over few donors are worth."""
    words = [_LEVEL_WORDS[level] for level in sorted(set(scores.split_level))]
    last = scores[scores.split == _last_split(scores)]
    n_donors = int(last.n_donors.max())
    if "donor" in set(last.bootstrap_unit) and n_donors < _FEW_DONORS:
        words.append(
            f"Intervals are over {n_donors} donors: with fewer than {_FEW_DONORS} a bootstrap "
            "knows too little of how donors differ, and they are too narrow."
        )
    return " ".join(words)
