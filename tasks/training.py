"""A training as a task: looked up if it is done, else started or gone on with."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from somaflow.preparation import open_prepared
from somaflow.recipes import Recipe, TrainingSettings
from somaflow.segmenter import limit_threads
from somaflow.training import Health, train_model
from tasks.caching import can_heal
from tasks.models import Device
from tasks.privacy import discreet
from tasks.reporting import Teller

_REPORT_INTERVAL_S = 20.0


@task(
    task_run_name="train {name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
@discreet
def train_recipe(
    name: str,
    folder: Path,
    prepared: Path,
    train_ids: list[str],
    val_ids: list[str],
    base: Recipe,
    settings: TrainingSettings,
    device: Device,
    time_limit_minutes: float | None,
    checkpoint_minutes: float,
) -> dict[str, Any]:
    """Trains one set of weights; returns path, sha256, best_epoch, val_f1_pooled, seconds."""
    limit_threads(1)  # workers share the machine; more threads slow each other down
    trained = train_model(
        folder,
        open_prepared(prepared),
        prepared,
        train_ids,
        val_ids,
        base,
        settings,
        device=device,
        deadline=find_deadline(time_limit_minutes, os.environ),
        checkpoint_every_s=60 * checkpoint_minutes,
        report=_HealthReport(name),
    )
    return {
        "path": str(trained.path),
        "sha256": trained.sha256,
        "best_epoch": trained.best_epoch,
        "val_f1_pooled": trained.val_f1_pooled,
        "seconds": trained.seconds,
    }


def find_deadline(time_limit_minutes: float | None, environment: Mapping[str, str]) -> float | None:
    """Unix time at which this training must have stopped; the earlier of limit and job's end.

    Args:
        time_limit_minutes: from now on, or None.
        environment: SLURM_JOB_END_TIME in it is the end of the job (SLURM 22.05 or newer).
    """
    ends = [] if time_limit_minutes is None else [time.time() + 60 * time_limit_minutes]
    if job_end := environment.get("SLURM_JOB_END_TIME", ""):
        ends.append(float(job_end))
    return min(ends, default=None)


class _HealthReport:
    """The health line in the run's log, and as a progress bar on the dashboard."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._teller = Teller(f"training-{name}", _REPORT_INTERVAL_S)
        self._logger = get_run_logger()

    def __call__(self, health: Health) -> None:
        is_last = health.step >= health.n_steps
        if not is_last and not self._teller.is_due:
            return
        line = f"{self._name}: {health.line()}"
        self._logger.log(30 if health.will_miss_deadline else 20, line)
        if is_last:
            self._teller.await_told()
        self._teller.tell(100.0 * health.step / health.n_steps, line)
        if is_last:
            self._teller.await_told()
