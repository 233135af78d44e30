"""The recipes that experiments made, a YAML file each: what inference and later experiments use.

Enters: recipes, and the key of the prepared tiles they were made on. Leaves: the same recipes, by
name. Refuses a recipe that is not there, or was made on other labelled tiles than the study has.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from somaflow.errors import StudyError
from somaflow.recipes import Recipe
from somaflow.schema import RECIPE, check_stamp, make_stamp
from somaflow.study import Study


def write_recipes(study: Study, recipes: Iterable[Recipe], made_by: str, prepared_key: str) -> None:
    """Writes each recipe under its name; another one of that name goes to `previous/`.

    Args:
        study: that they belong to.
        recipes: with absolute model paths; those below the output folder are written relative to
            it, so that the folder can move.
        made_by: the flow that made them.
        prepared_key: of the labelled tiles that they were trained or chosen on.
    """
    paths = study.paths
    for recipe in recipes:
        content = {
            **make_stamp(RECIPE),
            "made_by": made_by,
            "prepared": prepared_key,
            "fine_tuning": _tuning_digest(study),
            "recipe": _move_models(recipe.model_dump(mode="json"), paths.output, inward=True),
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        paths.write_current(paths.recipe(recipe.name), text.encode())


def find_recipe(study: Study, name: str, prepared_key: str | None = None) -> Recipe:
    """The recipe of that name: of the study file, or made by an experiment.

    Args:
        study: whose recipes.
        name: of the recipe.
        prepared_key: if given, a recipe made on other labelled tiles, or by another
            `fine_tuning`, is refused; inference takes it as it is.

    Raises:
        StudyError: if there is none, or it was made otherwise.
        SchemaError: if a newer somaflow wrote it.
    """
    for recipe in study.recipes:
        if recipe.name == name:
            return recipe
    path = study.paths.recipe(name)
    if not path.is_file():
        known = [recipe.name for recipe in study.recipes]
        known += sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise StudyError(
            f"recipe must be one of {', '.join(known)}, got {name!r}; correct the name, or run the "
            "flow that makes it first (e1-recipes, e3-gating or e4-thresholds)"
        )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    check_stamp(RECIPE, path, content)
    made_with = content["prepared"], content["fine_tuning"]
    if prepared_key is not None and made_with != (prepared_key, _tuning_digest(study)):
        raise StudyError(
            f"recipe {name} must have been made with the study's labelled tiles and fine_tuning, "
            f"{path} was made with others by {content['made_by']}; run it again"
        )
    return Recipe.model_validate(_move_models(content["recipe"], study.output, inward=False))


def _tuning_digest(study: Study) -> str:
    """Changes whenever what is trained does, not with limits of time."""
    tuning = study.fine_tuning
    if tuning is None:
        return ""
    content = tuning.model_dump_json(exclude={"time_limit_minutes", "checkpoint_minutes"})
    base = study.recipe(tuning.base).model_dump_json()
    return hashlib.sha256((content + base).encode()).hexdigest()


def _move_models(recipe: dict[str, Any], output: Path, inward: bool) -> dict[str, Any]:
    """The recipe with its checkpoint paths relative to the output folder, or absolute again."""
    model = recipe["model"]
    if inward and Path(model).is_relative_to(output):
        model = str(Path(model).relative_to(output))
    elif not inward and "/" in model:
        model = str(output / model)  # an absolute path stays what it is
    sets = {
        marker: _move_models(part, output, inward)
        for marker, part in recipe.get("per_marker", {}).items()
    }
    return {**recipe, "model": model, "per_marker": sets}
