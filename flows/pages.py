"""The page of an experiment, to the study's folder and to the dashboard."""

from collections.abc import Mapping
from typing import Any

from prefect import get_run_logger

from flows.server import await_server
from somaflow.experiments.results import Results, write_results
from somaflow.keys import content_key
from somaflow.study import Study
from tasks.report import write_study_report
from tasks.reporting import show_lines, show_results


def experiment_key(study: Study, name: str, **parts: Any) -> str:
    """Key of an experiment's page: what it is made from, and how the study resamples."""
    return content_key(
        "experiment", name=name, n_resamples=study.n_resamples, seed=study.seed, **parts
    )


def publish(
    study: Study,
    name: str,
    key: str,
    results: Results,
    pictures: Mapping[str, bytes] | None = None,
) -> str:
    """Writes the page, notes that it is the current one, shows it; returns its folder.

    Args:
        study: whose page.
        name: of the experiment.
        key: of the page.
        results: the page.
        pictures: for the dashboard, instead of the page's own of these names.
    """
    folder = study.paths.experiment(name, key)
    write_results(results, folder)
    study.paths.write_current(study.paths.current_experiment(name), f"{key}\n".encode())
    await_server()
    show_results(name, results, pictures)
    get_run_logger().info("%s in %s", results.title, folder)
    return str(folder)


def publish_report(study: Study) -> str:
    """Writes a report of all that the study has so far; returns the HTML file."""
    path = write_study_report(study)
    show_lines("report", f"Report of {study.name}", [str(path)])
    get_run_logger().info("Report in %s", path)
    return str(path)
