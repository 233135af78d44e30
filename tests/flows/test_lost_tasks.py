"""Tasks of trainings, sweeps and scoring, whose workers die or cannot be had: words, no waiting."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.flows.conftest import Run
from tests.flows.test_study_flow import ask
from tests.slurm import running_sandbox

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]
LONG_AGO = "2000-01-01T00:00:00Z"


def test_task_that_kills_its_workers_crashes_on_the_dashboard(
    environment: dict[str, str], api_url: str, tmp_path: Path
) -> None:
    """A task run whose workers died does not stay Running; the flow fails and says why."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.deadly", str(tmp_path)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "a task must leave its worker alive, 3 workers died of it" in done.stderr
    states = [
        run["state_type"] for run in ask(api_url, "task_runs", LONG_AGO) if run["name"] == "deadly"
    ]
    assert states and set(states) == {"CRASHED"}


def test_scoring_on_a_site_without_workers_ends_in_words(
    study: Path, environment: dict[str, str], somaflow: Run, tmp_path: Path
) -> None:
    """A partition that does not exist ends e1-recipes too, with what sbatch said."""
    assert somaflow("run", "e0-prepare", study).returncode == 0
    with running_sandbox(tmp_path / "slurm") as sandbox:
        site = yaml.safe_load(sandbox.site.read_text()) | {"partition": "nope"}
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
        command = [sys.executable, "-m", "somaflow", "run", "e1-recipes", str(study)]
        done = subprocess.run(
            [*command, "--site", str(tmp_path / "site.yaml")],
            cwd=REPOSITORY,
            env={**environment, "SLURM_CONF": str(sandbox.conf)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    (words,) = [line for line in done.stderr.splitlines() if line.startswith("somaflow: ")]
    assert "sbatch refused" in words and "invalid partition specified: nope" in words
