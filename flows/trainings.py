"""Many trainings over the workers of a site: finished ones are looked up, failures counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.futures import PrefectFuture, as_completed

from flows.sites import Runner
from somaflow.errors import ExperimentError
from somaflow.experiments.jobs import Job, recipe_job, started_from
from somaflow.experiments.plan import PlannedTraining
from somaflow.inventory import Prepared
from somaflow.recipes import Recipe
from somaflow.settings import FineTuning
from somaflow.study import Study
from somaflow.training import read_training
from tasks.caching import keyed
from tasks.reporting import Progress
from tasks.training import train_recipe

Trained = dict[str, tuple[str, str]]
"""Path and sha256 of the best weights, by name of the training."""


def run_planned(
    study: Study,
    runner: Runner,
    prepared: Prepared,
    planned: Sequence[PlannedTraining],
    tuning: FineTuning,
) -> tuple[Trained, list[str]]:
    """Runs the trainings, those that start from another one after it.

    Returns:
        The trained weights by name, and a line for each training that failed or could not start.
    """
    base = study.recipe(tuning.base)
    trained: Trained = {}
    failures: list[str] = []
    waiting = list(planned)
    while waiting:
        ready = [plan for plan in waiting if plan.start is None or plan.start in trained]
        if not ready:
            failures += [f"{plan.name}: {plan.start}, its start, failed" for plan in waiting]
            break
        waiting = [plan for plan in waiting if plan not in ready]
        jobs = [recipe_job(study, prepared, plan, _start(plan, trained, base)) for plan in ready]
        found, failed = run_jobs(study, runner, prepared, jobs, tuning)
        trained |= found
        failures += failed
    return trained, failures


def run_jobs(
    study: Study, runner: Runner, prepared: Prepared, jobs: Sequence[Job], tuning: FineTuning
) -> tuple[Trained, list[str]]:
    """Runs trainings that do not depend on each other; one that fails does not stop the others.

    Returns:
        The trained weights by name, and a line for each training that failed.
    """
    failures: list[str] = []
    todo = [job for job in jobs if not job.is_done]
    if todo:
        progress = Progress("Trainings done", total=len(todo), unit="trainings")
        job_of = {_submit(study, runner, prepared, job, tuning): job for job in todo}
        for future in as_completed(list(job_of)):
            job = job_of.pop(future)
            try:
                future.result()
            except Exception as error:  # noqa: BLE001 - listed, and the flow fails with the list
                failures.append(f"{job.name}: {type(error).__name__}: {error}")
            progress.advance(1, note=job.name)
        progress.close()
    models = {job.name: read_training(job.folder) for job in jobs if job.is_done}
    return {name: (str(model.path), model.sha256) for name, model in models.items()}, failures


def raise_failures(failures: Sequence[str], what: str, n_runs: int) -> None:
    """Ends a flow as failed, in words, once everything that could be done is done.

    Raises:
        ExperimentError: if there is a failure.
    """
    if failures:
        heading = f"{len(failures)} of {n_runs} {what} failed, the others are kept; mend the cause"
        raise ExperimentError("\n".join([f"{heading} and run again:", *failures]))


def _start(plan: PlannedTraining, trained: Mapping[str, tuple[str, str]], base: Recipe) -> Recipe:
    """The recipe a training starts from: its weights, with the thresholds that val is scored by."""
    if plan.start is None:
        return base
    return started_from(base, *trained[plan.start])


def _submit(
    study: Study, runner: Runner, prepared: Prepared, job: Job, tuning: FineTuning
) -> PrefectFuture[Any]:
    task = keyed(train_recipe, job.key, study.paths.task_results, on_disk=job.is_done)
    return runner.submit(
        task,
        name=job.name,
        folder=job.folder,
        prepared=prepared.folder,
        train_ids=list(job.train_ids),
        val_ids=list(job.val_ids),
        base=job.base,
        settings=job.planned.settings,
        device=study.device,
        time_limit_minutes=tuning.time_limit_minutes,
        checkpoint_minutes=tuning.checkpoint_minutes,
    )
