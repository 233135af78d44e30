"""Which recipes an experiment looks at: those that are named, or all that e1-recipes scored."""

from collections.abc import Sequence

from somaflow.experiments.plan import plan_trainings, scored_recipes
from somaflow.inventory import Prepared
from somaflow.recipebook import find_recipe
from somaflow.recipes import Recipe
from somaflow.study import Study


def default_recipes(study: Study, prepared: Prepared, names: Sequence[str] | None) -> list[Recipe]:
    """The named recipes, or those of the study file and of its fine-tuning's first seed.

    Raises:
        StudyError: if one of them has not been made yet, or on other labelled tiles.
    """
    if names is None:
        names = [recipe.name for recipe in study.recipes]
        if study.fine_tuning is not None:
            first = study.fine_tuning.seeds[0]
            planned = scored_recipes(plan_trainings(study.fine_tuning, prepared.tiles))
            names += [name for name, (_, seed) in planned.items() if seed == first]
            names.append("hybrid")
    return [find_recipe(study, name, prepared.key) for name in names]
