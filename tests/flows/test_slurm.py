"""The same flow on a real SLURM: its jobs leave the same bytes as the laptop's workers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from somaflow.study import load_study
from tests.conftest import REPOSITORY
from tests.flows.conftest import Finished
from tests.inference.study_files import tree_digest
from tests.permissions import open_to_others
from tests.slurm import running_sandbox

pytestmark = [pytest.mark.server, pytest.mark.slow]
RESULTS = ("labels", "cells", "ledger")


def test_jobs_of_slurm_leave_the_same_bytes(
    finished: Finished, environment: dict[str, str], tmp_path: Path
) -> None:
    """All tiles are segmented by jobs; labels, cells and ledger equal those of local workers."""
    shutil.copytree(finished.folder, tmp_path / "study")
    study = load_study(tmp_path / "study" / "study.yaml")
    for part in RESULTS:
        shutil.rmtree(study.output / part)
    with running_sandbox(tmp_path / "slurm") as sandbox:
        command = [sys.executable, "-m", "somaflow", "run", "e5-inference"]
        done = subprocess.run(
            [*command, str(tmp_path / "study" / "study.yaml"), "--site", str(sandbox.site)],
            cwd=REPOSITORY,
            env={**environment, "SLURM_CONF": str(sandbox.conf)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "" == sandbox.ask("squeue", "-h", "-t", "PD,R").strip(), "a job was left behind"
        jobs = (sandbox.folder / "log" / "jobcomp.txt").read_text()
    assert "Name=somaflow " in jobs
    logs = (study.output / "logs" / "slurm").glob("somaflow-*.err")
    assert any("shard" in log.read_text() for log in logs)
    assert [] == open_to_others(study.output / "labels"), "jobs must take the umask too"
    assert [] == open_to_others(study.output / "logs")
    undisturbed = load_study(finished.study).output
    for part in RESULTS:
        assert tree_digest(undisturbed / part) == tree_digest(study.output / part)
