"""The trainings of a study as jobs: from which weights, on which tiles, under which key.

Enters: what is planned, the prepared tiles and the study. Leaves: `Job`s; the key names the folder,
so the same job finds its own checkpoint, and a job of other settings another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from somaflow.experiments.budgets import BudgetRun
from somaflow.experiments.plan import PlannedTraining, training_tiles
from somaflow.inventory import Prepared
from somaflow.recipes import Recipe
from somaflow.segmenter import weights_sha256
from somaflow.settings import FineTuning
from somaflow.study import Study
from somaflow.training import is_trained, training_key


@dataclass(frozen=True)
class Job:
    """One training to do: what it is called, on what it is trained, from which weights."""

    name: str
    train_ids: tuple[str, ...]
    val_ids: tuple[str, ...]
    base: Recipe
    planned: PlannedTraining
    key: str
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether its weights are there, whole."""
        return is_trained(self.folder)


def recipe_job(study: Study, prepared: Prepared, planned: PlannedTraining, start: Recipe) -> Job:
    """The job of one of e1-recipes' trainings, on its own tiles.

    Args:
        study: whose output folder.
        prepared: its labelled tiles.
        planned: from `plan_trainings`.
        start: what it starts from: the base recipe, or `started_from` of another training.
    """
    tiles = training_tiles(planned, prepared.tiles)
    return _make_job(study, prepared, planned, tiles.train_ids, tiles.val_ids, start)


def budget_job(
    study: Study, prepared: Prepared, run: BudgetRun, base: Recipe, tuning: FineTuning
) -> Job:
    """The job of one run of e2-label-budget; it takes as many steps as one on all tiles."""
    settings = tuning.settings.model_copy(
        update={
            "seed": run.repeat,
            "images_per_epoch": tuning.settings.images_per_epoch
            or int((prepared.tiles.split == "train").sum()),
        }
    )
    planned = PlannedTraining(run.name, "budget", run.repeat, None, None, settings)
    val_ids = prepared.tiles.tile_id[prepared.tiles.split == "val"].astype(str).sort_values()
    return _make_job(study, prepared, planned, run.train_ids, list(val_ids), base)


def started_from(base: Recipe, path: str, sha256: str) -> Recipe:
    """The base recipe with the weights of another training, which a second stage starts from."""
    return base.model_copy(update={"model": path, "model_sha256": sha256})


def _make_job(
    study: Study,
    prepared: Prepared,
    planned: PlannedTraining,
    train_ids: Sequence[str],
    val_ids: Sequence[str],
    base: Recipe,
) -> Job:
    train_ids, val_ids = tuple(train_ids), tuple(val_ids)
    sha256 = base.model_sha256 or weights_sha256(base.model)
    key = training_key(prepared.key, train_ids, val_ids, base, sha256, planned.settings)
    folder = study.paths.checkpoint(key)
    return Job(planned.name, train_ids, val_ids, base, planned, key, folder)
