"""The report of a study as a task."""

from pathlib import Path

from prefect import task

from somaflow.report import write_report
from somaflow.study import Study
from tasks.privacy import discreet


@task(task_run_name="report of {study.name}")
@discreet
def write_study_report(study: Study) -> Path:
    """Writes the report in a folder of its own; returns its HTML file."""
    return write_report(study)
