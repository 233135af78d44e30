"""E2: how few labels are enough? Trainings on growing, nested sets of tiles, several times."""

from dataclasses import replace
from typing import Any

import pandas as pd
from prefect import flow

from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.pages import experiment_key, publish
from flows.parts import cancel_parts
from flows.scoring import recipe_key, score_recipes
from flows.sites import dask_runner
from flows.trainings import Trained, raise_failures, run_jobs
from somaflow.errors import StudyError
from somaflow.evaluation.pooling import add_overall, pooled_metrics
from somaflow.experiments.budgets import BudgetRun, plan_budgets
from somaflow.experiments.jobs import budget_job
from somaflow.experiments.pages import describe_budgets
from somaflow.experiments.repeats import budget_curve, budget_gains
from somaflow.inventory import find_prepared
from somaflow.recipes import Recipe, TrainingSettings
from somaflow.settings import FineTuning, LabelBudgets
from tasks.privacy import private

NAME = "e2-label-budget"


@flow(name=NAME, flow_run_name=named("label budgets of"), on_cancellation=[cancel_parts])
@private
def e2_label_budget(study: StudyOrPath, site: str = "laptop") -> dict[str, Any]:
    """Trains on few to many tiles a marker, several times, and draws the curve of scores.

    Every run takes the same number of optimizer steps. Finished runs are kept; one that fails does
    not stop the others.

    Args:
        study: The study, or the path of its YAML file; needs `fine_tuning`.
        site: Where tasks run: `laptop`, `slurm`, or the path of a site file.
    """
    announce_outputs(study)
    tuning = study.fine_tuning
    if tuning is None:
        raise StudyError(
            "label budgets need `fine_tuning` in the study, which says how weights are trained"
        )
    prepared = find_prepared(study)
    base = study.recipe(tuning.base)
    runs = plan_budgets(study.label_budgets or LabelBudgets(), prepared.tiles, study.seed)
    jobs = {
        run.name: budget_job(study, prepared, run, base, tuning)
        for run in runs
        if run.same_as is None
    }
    split = "test" if (prepared.tiles.split == "test").any() else "val"
    with dask_runner(site, study.output) as runner:
        trained, failures = run_jobs(study, runner, prepared, list(jobs.values()), tuning)
        if not trained:
            raise_failures(failures, "run(s)", len(jobs))
        recipes = [_as_recipe(base, tuning, name, *weights) for name, weights in trained.items()]
        baseline = score_recipes(study, runner, prepared, [base], (split,))
        counts = score_recipes(study, runner, prepared, recipes, (split,))
    keys = {recipe.name: recipe_key(study, prepared, recipe) for recipe in recipes}
    rows = _rows_of_runs(counts, runs)
    results = describe_budgets(
        study.name,
        budget_curve(rows, study.n_resamples, study.seed),
        budget_gains(rows, study.n_resamples, study.seed),
        _describe_runs(runs, trained),
        _f1_by_marker(baseline),
        failures,
        _describe_steps(next(iter(jobs.values())).planned.settings),
        str(baseline.split_level.iloc[0]),
    )
    folder = publish(study, NAME, experiment_key(study, NAME, evaluations=keys), results)
    raise_failures(failures, "run(s)", len(jobs))
    return {"evaluations": keys, "folder": folder}


def _as_recipe(base: Recipe, tuning: FineTuning, name: str, path: str, sha256: str) -> Recipe:
    made = base.model_copy(update={"name": name, "model": path, "model_sha256": sha256})
    return tuning.settings.apply_to(made)


def _rows_of_runs(counts: pd.DataFrame, runs: list[BudgetRun]) -> pd.DataFrame:
    """Counts with budget and repeat; a saturated budget has those of the run it equals."""
    parts = []
    for run in runs:
        rows = counts[counts.recipe == _run_of(run).name]
        parts.append(rows.assign(budget=run.budget, repeat=run.repeat))
    return pd.concat(parts, ignore_index=True)


def _run_of(run: BudgetRun) -> BudgetRun:
    """The run that stands for this one: itself, or the smaller budget with the same tiles."""
    return run if run.same_as is None else replace(run, budget=run.same_as, same_as=None)


def _describe_runs(runs: list[BudgetRun], trained: Trained) -> pd.DataFrame:
    rows = []
    for run in runs:
        status = "trained" if _run_of(run).name in trained else "failed"
        if run.same_as is not None:
            status = f"same tiles as budget {run.same_as}"
        tiles = ", ".join(f"{marker} {n}" for marker, n in run.n_per_marker.items())
        row = {"budget": run.budget, "repeat": run.repeat, "tiles": tiles}
        rows.append(row | {"capped": ", ".join(run.capped) or "-", "status": status})
    return pd.DataFrame(rows)


def _f1_by_marker(counts: pd.DataFrame) -> dict[str, float]:
    pooled = pooled_metrics(add_overall(counts), by=["marker"])
    return dict(zip(pooled.marker, pooled.f1_pooled, strict=True))


def _describe_steps(settings: TrainingSettings) -> str:
    n_images = settings.images_per_epoch or 0
    n_steps = settings.n_epochs * -(-n_images // settings.batch_size)
    return (
        f"Every run takes {n_steps} optimizer steps ({settings.n_epochs} epochs of {n_images} "
        f"images, {settings.batch_size} a step), whatever its budget."
    )
