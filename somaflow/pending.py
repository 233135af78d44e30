"""What of a study's inference is still to be done, read from its files alone."""

from dataclasses import dataclass

import pandas as pd

from somaflow.inference import Inference, plan_inference
from somaflow.inventory import fingerprint_tiles, inference_tiles, read_tiles
from somaflow.ledger import read_plan, unfinished_shards
from somaflow.recipebook import find_recipe
from somaflow.recipes import Recipe
from somaflow.segmenter import weights_sha256
from somaflow.study import Study


@dataclass(frozen=True)
class Pending:
    """An inference, and what of it is to be done.

    Attributes:
        inference: as planned.
        recipe: that segments it.
        plan: a row a tile, as `ledger.read_plan` gives it.
        todo: numbers of the shards that are not committed, in order.
    """

    inference: Inference
    recipe: Recipe
    plan: pd.DataFrame
    todo: list[int]


def find_pending(study: Study, recipe_name: str, retry_quarantined: bool = False) -> Pending:
    """Plans the inference of a recipe, or finds its plan, and checks every committed shard.

    Args:
        study: prepared by e0-prepare.
        recipe_name: one of `Study.inference_recipes`.
        retry_quarantined: shards with quarantined tiles are to be done again.

    Raises:
        StudyError: if the study is not prepared, or the recipe is not there.
        OutputError: if the output folder cannot be written.
    """
    recipe = find_recipe(study, recipe_name)
    inference = _plan(study, recipe, writes=True)
    plan = read_plan(study.paths, inference.key)
    todo = unfinished_shards(study.paths, inference.key, plan, retry_quarantined)
    return Pending(inference, recipe, plan, todo)


def find_current_keys(study: Study) -> set[str]:
    """Keys of the inferences that the study's files ask for as they are now; plans none of them.

    Raises:
        StudyError: if the study is not prepared, or a recipe is not there.
    """
    recipes = [find_recipe(study, name) for name in study.inference_recipes]
    return {_plan(study, recipe, writes=False).key for recipe in recipes}


def _plan(study: Study, recipe: Recipe, writes: bool) -> Inference:
    tiles = inference_tiles(read_tiles(study.paths))
    return plan_inference(
        study.paths,
        tiles,
        recipe,
        weights_sha256,
        fingerprint_tiles(tiles, study.paths),
        study.shard_tiles,
        study.tiles.pixel_offset,
        writes,
    )
