"""Many recipes scored over the workers of a site; what is scored already is read from disk."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from prefect.futures import PrefectFuture, as_completed

from flows.sites import Runner
from somaflow.evaluation.scoring import evaluation_key
from somaflow.files import write_bytes
from somaflow.inventory import Prepared
from somaflow.recipes import Recipe
from somaflow.schema import EVALUATION
from somaflow.segmenter import weights_sha256
from somaflow.splits.assign import SPLIT_NAMES
from somaflow.stamps import encode_table, read_table
from somaflow.study import Study
from tasks.caching import keyed
from tasks.evaluation import score_split
from tasks.reporting import Progress


def recipe_key(study: Study, prepared: Prepared, recipe: Recipe) -> str:
    """Key of the recipe's counts."""
    return evaluation_key(prepared.key, recipe, weights_sha256, study.iou_threshold)


def last_split(counts: pd.DataFrame) -> str:
    """The split that scores are shown of: test, or val where there is no test tile."""
    return "test" if (counts.split == "test").any() else "val"


def score_recipes(
    study: Study,
    runner: Runner,
    prepared: Prepared,
    recipes: Sequence[Recipe],
    splits: Sequence[str] = SPLIT_NAMES,
) -> pd.DataFrame:
    """Counts of all recipes, a row an image; a task a recipe and split that is not scored yet.

    Each recipe's counts are also written, when all its splits are there.

    Args:
        study: of which the tiles and the IoU threshold are taken.
        runner: of the tasks.
        prepared: the labelled tiles.
        recipes: to score, each name once.
        splits: to score.
    """
    present = [split for split in splits if (prepared.tiles.split == split).any()]
    keys = {
        recipe.name: _file_key(recipe_key(study, prepared, recipe), splits) for recipe in recipes
    }
    todo = [recipe for recipe in recipes if not study.paths.evaluation(keys[recipe.name]).exists()]
    if todo:
        _score(study, runner, prepared, todo, keys, present)
    tables = [read_table(EVALUATION, study.paths.evaluation(key)) for key in keys.values()]
    return pd.concat(tables, ignore_index=True)


def _file_key(key: str, splits: Sequence[str]) -> str:
    """Of the file of these splits; tasks go by recipe and split alone, and so share results."""
    return key if tuple(splits) == SPLIT_NAMES else "-".join([key, *splits])


def write_counts(study: Study, key: str, counts: pd.DataFrame) -> None:
    """Writes the counts of one recipe."""
    ordered = counts.sort_values(["split", "marker", "tile_id"], ignore_index=True)
    write_bytes(study.paths.evaluation(key), encode_table(EVALUATION, ordered))


def _score(
    study: Study,
    runner: Runner,
    prepared: Prepared,
    recipes: Sequence[Recipe],
    keys: dict[str, str],
    splits: Sequence[str],
) -> None:
    sizes = prepared.tiles.groupby("split").size()
    total = len(recipes) * int(sizes[list(splits)].sum())
    progress = Progress("Tiles scored", total=total, unit="tiles")
    work: dict[PrefectFuture[Any], tuple[Recipe, str]] = {}
    for recipe in recipes:
        for split in splits:
            key = f"{recipe_key(study, prepared, recipe)}-{split}"
            task = keyed(score_split, key, study.paths.task_results, on_disk=True)
            parameters = {
                "folder": prepared.folder,
                "recipe": recipe,
                "split": split,
                "device": study.device,
                "iou_threshold": study.iou_threshold,
            }
            work[runner.submit(task, **parameters)] = recipe, split
    parts: dict[str, list[pd.DataFrame]] = {recipe.name: [] for recipe in recipes}
    for future in as_completed(list(work)):
        recipe, split = work.pop(future)
        parts[recipe.name].append(future.result())
        if len(parts[recipe.name]) == len(splits):
            write_counts(study, keys[recipe.name], pd.concat(parts[recipe.name]))
        progress.advance(int(sizes[split]), note=f"{recipe.name} on {split}")
    progress.close()
