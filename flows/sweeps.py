"""One pass of each recipe over labelled tiles, a task a recipe; done ones are read from disk."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture, as_completed

from flows.sites import Runner
from somaflow.experiments.sweeps import is_swept
from somaflow.recipes import Recipe
from somaflow.study import Study
from tasks.caching import keyed
from tasks.reporting import Progress


def run_sweeps(
    study: Study,
    runner: Runner,
    task: Task[Any, Any],
    tables: Sequence[str],
    recipes: Sequence[Recipe],
    keys: Mapping[str, str],
    parameters: Mapping[str, Any],
) -> None:
    """Runs the task for every recipe whose tables are not there.

    Args:
        study: whose output folder.
        runner: of the tasks.
        task: takes `parameters`, recipe and target, and writes the tables.
        tables: their names, the one written last at the end.
        recipes: to run over.
        keys: of the tables, by recipe name.
        parameters: the same for every recipe.
    """
    todo = [r for r in recipes if not is_swept(study.paths.sweep(keys[r.name]), tables)]
    if not todo:
        return
    progress = Progress("Recipes swept", total=len(todo), unit="recipes")
    recipe_of: dict[PrefectFuture[Any], Recipe] = {}
    for recipe in todo:
        target = study.paths.sweep(keys[recipe.name])
        named = keyed(task, keys[recipe.name], study.paths.task_results, on_disk=False)
        own = {**parameters, "recipe": recipe, "target": target}
        recipe_of[runner.submit(named, **own)] = recipe
    for future in as_completed(list(recipe_of)):
        future.result()
        progress.advance(1, note=recipe_of.pop(future).name)
    progress.close()
