"""Which trainings a study's fine-tuning asks for, on which tiles, and the recipes that come out.

Enters: the `FineTuning` settings and the table of prepared tiles. Leaves: `PlannedTraining`s in an
order in which each comes after the one it starts from, and `Recipe`s to score. Refuses: a recipe
of a marker that has no training tiles, trainings without a val tile to choose their epoch on.

Every training of an experiment takes the same number of optimizer steps, whatever it trains on;
the weights of `two-stage` have gone through two trainings, so through twice as many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from somaflow.errors import StudyError
from somaflow.recipes import Recipe, TrainingSettings
from somaflow.settings import ONLY, FineTuning

GENERIC, TWO_STAGE = "generic", "two-stage"
_CHANGES: dict[str, dict[str, str]] = {
    "without-dapi": {"channels": "marker"},
    "balanced": {"sampling": "balanced"},
}


@dataclass(frozen=True)
class PlannedTraining:
    """One training to run.

    Attributes:
        name: the recipe, with `-seed<k>` for every seed but the first; unique in a plan.
        recipe: `generic`, `without-dapi`, `balanced`, `<MARKER>-only` or `two-stage-<MARKER>`.
        seed: of order and augmentation, also in `settings`.
        markers: markers it trains on; None for all.
        start: name of the training whose best weights it starts from; None for the base recipe.
        settings: complete: seed, sampling, channels and images_per_epoch are filled in.
    """

    name: str
    recipe: str
    seed: int
    markers: tuple[str, ...] | None
    start: str | None
    settings: TrainingSettings


class TrainingTiles(NamedTuple):
    """Tile ids of one training, sorted, and what a reader should know about them ("" = nothing)."""

    train_ids: tuple[str, ...]
    val_ids: tuple[str, ...]
    note: str


def plan_trainings(fine_tuning: FineTuning, prepared: pd.DataFrame) -> list[PlannedTraining]:
    """Returns the trainings of all recipes and seeds, each after the one it starts from.

    `per-marker` and `two-stage` stand for one training a marker that has training tiles.
    `two-stage` needs the generic weights: `generic` is then trained, and scored, even if it is not
    listed. `balanced` and `without-dapi` change one setting each; where the settings already say
    so, they equal `generic`.

    Args:
        fine_tuning: recipes, seeds and settings.
        prepared: rows of `prepared.parquet`; columns split and marker.

    Raises:
        StudyError: if no tile is in train, or `<MARKER>-only` names a marker without one there.
    """
    train = prepared[prepared["split"] == "train"]
    markers = sorted(train["marker"].unique())
    if not markers:
        raise StudyError(
            "fine-tuning needs tiles in the train split, found none among "
            f"{len(prepared)} prepared tiles; label more tiles or change splits"
        )
    images_per_epoch = fine_tuning.settings.images_per_epoch or len(train)
    settings = fine_tuning.settings.model_copy(update={"images_per_epoch": images_per_epoch})
    first = fine_tuning.seeds[0]
    return [
        _plan(recipe, seed, "" if seed == first else f"-seed{seed}", settings)
        for seed in fine_tuning.seeds
        for recipe in _expand(fine_tuning.recipes, markers)
    ]


def training_tiles(planned: PlannedTraining, prepared: pd.DataFrame) -> TrainingTiles:
    """Returns the tiles to train on and those to choose the epoch on, of the training's markers.

    Where its markers have no val tile, the epoch is chosen on the val tiles of all markers, and
    the note says so.

    Args:
        planned: one training.
        prepared: rows of `prepared.parquet`; columns tile_id, split and marker.

    Raises:
        StudyError: if there is no tile to train on, or no val tile at all.
    """
    own = prepared
    if planned.markers is not None:
        own = prepared[prepared["marker"].isin(planned.markers)]
    train_ids, val_ids = _ids(own, "train"), _ids(own, "val")
    note = ""
    if not val_ids:
        val_ids = _ids(prepared, "val")
        note = (
            f"{planned.name}: no val tile of {', '.join(planned.markers or ())}; "
            "its best epoch is chosen on the val tiles of all markers"
        )
    if not train_ids or not val_ids:
        raise StudyError(
            f"training {planned.name} needs tiles in train and in val, found {len(train_ids)} and "
            f"{len(val_ids)}; label more tiles or change splits"
        )
    return TrainingTiles(train_ids, val_ids, note)


def scored_recipes(planned: Sequence[PlannedTraining]) -> dict[str, tuple[str, int]]:
    """Returns recipe and seed of each name to score: the trainings of two stages are one recipe."""
    names: dict[str, tuple[str, int]] = {}
    for training in planned:
        recipe = training.recipe if training.start is None else TWO_STAGE
        suffix = training.name.removeprefix(training.recipe)
        names[recipe + suffix] = (recipe, training.seed)
    return names


def compose_recipes(
    planned: Sequence[PlannedTraining],
    trained: Mapping[str, tuple[Path | str, str]],
    base: Recipe,
) -> list[Recipe]:
    """Returns the recipes to score, in the order of the plan, under the names of `scored_recipes`.

    Each has the base recipe's thresholds and gate, and shows tiles to the net as its training did.
    `two-stage` has the weights of each marker's own second stage, and the generic ones for any
    other marker. A recipe of which a training is not in `trained` is left out.

    Args:
        planned: all trainings.
        trained: for each finished training its best weights' path and sha256.
        base: the recipe that training started from.

    Raises:
        StudyError: if the base recipe has sets per marker, so no weights to start from.
    """
    if base.per_marker:
        raise StudyError(
            f"fine-tuning must start from one set of weights, recipe {base.name!r} has sets for "
            f"{', '.join(base.per_marker)}; name a recipe without per_marker as the base"
        )
    recipes = []
    for name, (recipe, seed) in scored_recipes(planned).items():
        parts = [training for training in planned if training.seed == seed]
        if recipe == TWO_STAGE:
            parts = [part for part in parts if part.start is not None or part.recipe == GENERIC]
        else:
            parts = [part for part in parts if part.recipe == recipe]
        if all(part.name in trained for part in parts):
            recipes.append(_compose(name, parts, trained, base))
    return recipes


def _expand(asked: Sequence[str], markers: Sequence[str]) -> list[str]:
    """Returns the recipes to train, once each; the generic one before those that start from it."""
    unknown = [name for name in asked if name.endswith(ONLY) and name[: -len(ONLY)] not in markers]
    if unknown:
        raise StudyError(
            f"<MARKER>{ONLY} must name a marker with training tiles ({', '.join(markers)}), got "
            f"{', '.join(unknown)}; correct the name or leave it out"
        )
    names: list[str] = []
    for name in asked:
        if name == "per-marker":
            names += [f"{marker}{ONLY}" for marker in markers]
        elif name == TWO_STAGE:
            names += [GENERIC, *(f"{TWO_STAGE}-{marker}" for marker in markers)]
        else:
            names.append(name)
    return list(dict.fromkeys(names))


def _plan(recipe: str, seed: int, suffix: str, settings: TrainingSettings) -> PlannedTraining:
    is_second = recipe.startswith(f"{TWO_STAGE}-")
    marker = recipe.removeprefix(f"{TWO_STAGE}-") if is_second else recipe.removesuffix(ONLY)
    changes: dict[str, Any] = {"seed": seed, **_CHANGES.get(recipe, {})}
    return PlannedTraining(
        name=f"{recipe}{suffix}",
        recipe=recipe,
        seed=seed,
        markers=(marker,) if is_second or recipe.endswith(ONLY) else None,
        start=f"{GENERIC}{suffix}" if is_second else None,
        settings=settings.model_copy(update=changes),
    )


def _ids(prepared: pd.DataFrame, split: str) -> tuple[str, ...]:
    return tuple(sorted(prepared.loc[prepared["split"] == split, "tile_id"].astype(str)))


def _compose(
    name: str,
    parts: Sequence[PlannedTraining],
    trained: Mapping[str, tuple[Path | str, str]],
    base: Recipe,
) -> Recipe:
    """Returns one recipe from its trainings: the one from the base weights, then second stages."""
    sets = {part.name: _as_recipe(part, *trained[part.name], base) for part in parts}
    default = next(sets[part.name] for part in parts if part.start is None)
    per_marker = {
        marker: sets[part.name]
        for part in parts
        if part.start is not None
        for marker in part.markers or ()
    }
    return default.model_copy(update={"name": name, "per_marker": per_marker})


def _as_recipe(training: PlannedTraining, weights: Path | str, sha256: str, base: Recipe) -> Recipe:
    named = base.model_copy(
        update={"name": training.name, "model": str(weights), "model_sha256": sha256}
    )
    return training.settings.apply_to(named)
