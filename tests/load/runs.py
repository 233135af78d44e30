"""Runs as studies leave them in the database, without the work: `python -m tests.load.runs ...`.

A study leaves nine flow runs, some 300 task runs, progress, tables and pages. These are real runs
of Prefect that do nothing; only their number, names and artifacts are those of a study.
"""

import argparse
import time

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.futures import wait

STAGES = ("e0-prepare", "e1-recipes", "e2-label-budget", "e3-gating", "e4-thresholds", "e5-donors")
TASKS_A_STAGE = 12
_SHARDS = 231
_PAGE_BYTES = 300_000
"""What a page of an experiment has with its pictures inside."""


@task(task_run_name="shard {number} of {n_shards}")
def shard(number: int, n_shards: int) -> int:
    """Does nothing but what every shard does on the dashboard: a line of log."""
    get_run_logger().info("64 tiles, 1200 cells, 0 quarantined in 2.0 s")
    return number


@task(task_run_name="{stage}, part {number}")
def part(stage: str, number: int) -> str:
    """A training, a scoring or a sweep that does nothing."""
    get_run_logger().info("%s: part %d", stage, number)
    return stage


@flow(name="stage", flow_run_name="{name} of {study}")
def stage(study: str, name: str) -> None:
    """One experiment: its tasks, a table of scores and a page with pictures."""
    wait([part.submit(name, number) for number in range(TASKS_A_STAGE)])
    rows = [{"recipe": f"recipe {row}", "f1_pooled": row / 40} for row in range(40)]
    create_table_artifact(key=f"{name}-scores", table=rows, description=f"Scores of {study}")
    create_markdown_artifact(
        key=name, markdown=f"# {name}\n\n{'x' * _PAGE_BYTES}", description=name
    )


@flow(name="inference", flow_run_name="segment all of {study}")
def inference(study: str, n_shards: int, pause_s: float) -> None:
    """The shards of a study, each a task, and their progress; at a pace, or as fast as it goes."""
    made = create_progress_artifact(0.0, key="tiles-segmented", description="0 tiles")
    begun, futures = time.monotonic(), []
    for number in range(1, n_shards + 1):
        futures.append(shard.submit(number, n_shards))
        if number % 8 == 0:
            wait(futures)
            update_progress_artifact(made, 100 * number / n_shards, f"{64 * number} tiles")
        time.sleep(max(0.0, begun + number * pause_s - time.monotonic()))
    wait(futures)


@flow(name="study", flow_run_name="study {study}")
def whole_study(study: str, n_shards: int) -> None:
    """All of a study."""
    for name in STAGES:
        stage(study, name)
    inference(study, n_shards, 0.0)


def main() -> None:
    """Runs studies one after the other, or one inference at a pace."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.runs", description=__doc__)
    parser.add_argument("--studies", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="Number of the first one.")
    parser.add_argument("--shards", type=int, default=_SHARDS)
    parser.add_argument("--shards-per-minute", type=float, default=0.0)
    options = parser.parse_args()
    for number in range(options.first, options.first + options.studies):
        whole_study(f"load-{number:03d}", options.shards)
    if options.shards_per_minute:
        inference("paced", options.shards, 60 / options.shards_per_minute)


if __name__ == "__main__":
    main()
