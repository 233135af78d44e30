"""E4: which Cellpose thresholds: every setting scored on val, two operating points a marker."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from prefect import flow

from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.pages import experiment_key, publish
from flows.parts import cancel_parts
from flows.recipes import default_recipes
from flows.scoring import last_split, score_recipes
from flows.sites import dask_runner
from flows.sweeps import run_sweeps
from somaflow.errors import StudyError
from somaflow.evaluation.comparison import compare_recipes
from somaflow.evaluation.operating_points import (
    BEST_F1,
    PRECISE,
    SETTING,
    choose_operating_points,
    pooled_settings,
)
from somaflow.evaluation.scores import OVERALL
from somaflow.experiments.pages import describe_diagnosis, describe_settings, describe_thresholds
from somaflow.experiments.results import Results, merge_results
from somaflow.experiments.sweeps import THRESHOLD_TABLES, read_tables, sweep_key
from somaflow.inventory import find_prepared
from somaflow.recipebook import write_recipes
from somaflow.recipes import Recipe
from somaflow.segmenter import weights_sha256
from somaflow.settings import ThresholdGrid
from somaflow.study import Study
from tasks.privacy import private
from tasks.sweeps import sweep_recipe

NAME = "e4-thresholds"


@flow(name=NAME, flow_run_name=named("thresholds of"), on_cancellation=[cancel_parts])
@private
def e4_thresholds(study: StudyOrPath, site: str = "laptop") -> dict[str, Any]:
    """Scores all settings on val, picks two operating points, and scores those once on test.

    The chosen ones are recipes of their own, `<recipe>-best-f1` and `<recipe>-precise`.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run: `laptop`, `slurm`, or the path of a site file.
    """
    announce_outputs(study)
    grid = study.thresholds or ThresholdGrid()
    prepared = find_prepared(study)
    if not (prepared.tiles.split == "val").any():
        raise StudyError("thresholds are chosen on val, which has no tile; change `splits`")
    recipes = default_recipes(study, prepared, grid.recipes)
    content = grid.model_dump(mode="json", exclude={"recipes", "required_recall"})
    keys = {
        recipe.name: sweep_key(
            "sweep",
            prepared.key,
            recipe,
            weights_sha256,
            grid=content,
            iou_threshold=study.iou_threshold,
        )
        for recipe in recipes
    }
    parameters = {
        "folder": prepared.folder,
        "split": "val",
        "grid": grid,
        "device": study.device,
        "iou_threshold": study.iou_threshold,
    }
    with dask_runner(site, study.output) as runner:
        run_sweeps(study, runner, sweep_recipe, THRESHOLD_TABLES, recipes, keys, parameters)
        tables = {
            name: read_tables(study.paths.sweep(key), THRESHOLD_TABLES)
            for name, key in keys.items()
        }
        swept = pd.concat([table["counts"] for table in tables.values()], ignore_index=True)
        pooled = pooled_settings(swept)
        points = choose_operating_points(pooled, grid.required_recall)
        made = [point for recipe in recipes for point in _apply(recipe, points)]
        scored = score_recipes(study, runner, prepared, recipes)
        counts = score_recipes(study, runner, prepared, made, ("val", "test"))
    counts = pd.concat([scored, counts], ignore_index=True)
    write_recipes(study, made, NAME, prepared.key)
    pages = [
        describe_settings(pooled, points),
        _diagnose(study, recipes, tables, pooled, scored),
    ]
    for recipe in recipes:
        names = [recipe.name, *_names(recipe).values()]
        own = counts[counts.recipe.isin(names) & (counts.split == last_split(counts))]
        pages.append(
            describe_thresholds(
                recipe.name,
                pooled[pooled.recipe == recipe.name],
                points[points.recipe == recipe.name],
                compare_recipes(own, recipe.name, study.n_resamples, study.seed),
                grid.required_recall,
            )
        )
    results = merge_results(f"Thresholds of {study.name}", pages)
    key = experiment_key(study, NAME, tables=keys, required_recall=grid.required_recall)
    folder = publish(study, NAME, key, results)
    return {"recipes": [recipe.name for recipe in made], "folder": folder}


def _names(recipe: Recipe) -> dict[str, str]:
    """Names of the recipe's operating points, by point."""
    return {point: f"{recipe.name}-{point}" for point in (BEST_F1, PRECISE)}


def _apply(recipe: Recipe, points: pd.DataFrame) -> list[Recipe]:
    """The recipe at each operating point: own thresholds a marker, overall ones for any other."""
    made = []
    for point, name in _names(recipe).items():
        own = points[(points.recipe == recipe.name) & (points.point == point)]
        settings = {
            row["marker"]: {column: row[column] for column in SETTING}
            for row in own.to_dict("records")
        }
        overall = settings.pop(OVERALL)
        sets = {
            marker: recipe.for_marker(marker).model_copy(update=setting)
            for marker, setting in settings.items()
        }
        update = {"name": name, **overall, "per_marker": {**recipe.per_marker, **sets}}
        made.append(recipe.model_copy(update=update))
    return made


def _diagnose(
    study: Study,
    recipes: Sequence[Recipe],
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    pooled: pd.DataFrame,
    scored: pd.DataFrame,
) -> Results:
    """Why each marker does as badly as it does, the worst one first; on val.

    Looked at is the first recipe that was trained for all markers, or the baseline.
    """
    recipe = recipes[min(len(study.recipes), len(recipes) - 1)]
    val = scored[scored.split == "val"]
    scores = compare_recipes(val, recipes[0].name, study.n_resamples, study.seed)
    own = val[val.recipe == recipe.name]
    return describe_diagnosis(recipe, tables[recipe.name], pooled, scores, own)
