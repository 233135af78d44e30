"""Trainings that were cut short, pages that list failed runs, pages that were never made."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from somaflow.experiments.budgets import plan_budgets
from somaflow.experiments.jobs import Job, budget_job, recipe_job, started_from
from somaflow.experiments.pages import listed_failures
from somaflow.experiments.plan import plan_trainings
from somaflow.experiments.results import SUMMARY
from somaflow.failures import read_cause
from somaflow.inventory import Prepared
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.segmenter import weights_sha256
from somaflow.settings import FineTuning, LabelBudgets
from somaflow.study import Study
from somaflow.training import is_training, read_history, recorded_weights
from somaflow.unfinished.finding import Unfinished

_NAMES_SHOWN = 3


def current_page(paths: RunPaths, name: str) -> Path | None:
    """The page that an experiment's last run has made; None if it has made none."""
    current = paths.current_experiment(name)
    if not current.is_file():
        return None
    page = paths.experiment(name, current.read_text("utf-8").strip()) / SUMMARY
    return page if page.is_file() else None


def find_failed_runs(study: Study, flow: str) -> Iterator[Unfinished]:
    """What the current page of an experiment says about runs that failed."""
    page = current_page(study.paths, flow)
    failures = _failures_on(page)
    if page is not None and failures:
        yield Unfinished(
            flow,
            f"its page lists {len(failures)} failed run(s), the first: {failures[0]}",
            heals=read_cause("\n".join(failures)).heals,
            since=page.stat().st_mtime,
        )


def _failures_on(page: Path | None) -> list[str]:
    return [] if page is None else listed_failures(page.read_text("utf-8"))


def find_cut_trainings(study: Study, prepared: Prepared) -> Iterator[Unfinished]:
    """Trainings that the study asks for as it is now, that have begun and that are not done.

    Weights are not hashed, but for those that all start from, whose checksum is in the keys.
    """
    tuning = study.fine_tuning
    if tuning is None or not study.paths.checkpoint_folders():
        return
    base = study.recipe(tuning.base)
    base = base.model_copy(update={"model_sha256": base.model_sha256 or weights_sha256(base.model)})
    jobs = {"e1-recipes": _recipe_jobs(study, prepared, tuning, base)}
    runs = plan_budgets(study.label_budgets or LabelBudgets(), prepared.tiles, study.seed)
    jobs["e2-label-budget"] = [
        budget_job(study, prepared, run, base, tuning) for run in runs if run.same_as is None
    ]
    for flow in _begun(jobs):
        yield from _judge(study.paths, flow, jobs[flow])


def _recipe_jobs(study: Study, prepared: Prepared, tuning: FineTuning, base: Recipe) -> list[Job]:
    """Those of e1-recipes; a second stage has a key only once the first has made its weights."""
    jobs: list[Job] = []
    starts: dict[str | None, Recipe] = {None: base}
    for plan in plan_trainings(tuning, prepared.tiles):
        if plan.start not in starts:
            continue
        job = recipe_job(study, prepared, plan, starts[plan.start])
        jobs.append(job)
        if (weights := recorded_weights(job.folder)) is not None:
            path, sha256 = weights
            starts[plan.name] = started_from(base, str(path), sha256)
    return jobs


def _begun(jobs: Mapping[str, Sequence[Job]]) -> list[str]:
    """The flows that have begun: a folder that both may ask for says nothing, unless all do."""
    keys = {flow: {job.key for job in own if job.folder.is_dir()} for flow, own in jobs.items()}
    shared = set.intersection(*keys.values())
    begun = [flow for flow, own in keys.items() if own - shared]
    return begun or ([next(iter(jobs))] if shared else [])


def _judge(paths: RunPaths, flow: str, jobs: Sequence[Job]) -> Iterator[Unfinished]:
    page = current_page(paths, flow)
    failed = {line.split(": ")[0] for line in _failures_on(page)}
    begun = [job for job in jobs if job.folder.is_dir()]
    if any(is_training(job.folder) for job in begun):
        return  # somebody is at it
    cut = [job for job in begun if recorded_weights(job.folder) is None and job.name not in failed]
    lines = [_describe(job) for job in cut]
    if lines:
        more = f" and {len(lines) - _NAMES_SHOWN} more" if len(lines) > _NAMES_SHOWN else ""
        reason = ", ".join(lines[:_NAMES_SHOWN]) + more
        yield Unfinished(flow, reason, evidence=", ".join(lines))
    elif page is None:
        yield Unfinished(flow, f"{len(begun)} training(s) are done, its page is not made")


def _describe(job: Job) -> str:
    history = read_history(job.folder)
    epoch = int(history.epoch.max()) if len(history) else 0
    return f"training {job.name} stopped at epoch {epoch} of {job.planned.settings.n_epochs}"
