"""One real Prefect server for all flow tests, and one small synthetic study to copy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from flows.server import temporary_server
from somaflow.pending import find_pending
from somaflow.study import load_study
from somaflow.synthetic import write_study
from tests.conftest import REPOSITORY

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server that ends with the session."""
    with temporary_server(tmp_path_factory.mktemp("prefect")) as settings:
        yield settings["PREFECT_API_URL"]


@pytest.fixture(scope="session")
def environment(api_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that talks to that server and to no other."""
    return {
        **os.environ,
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect-client")),
        "DO_NOT_TRACK": "1",
    }


@pytest.fixture(scope="session")
def somaflow(environment: dict[str, str]) -> Run:
    """Runs the command line as a user would and returns what it printed."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "somaflow", *map(str, arguments)],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def synthetic_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small synthetic study; not to be written to."""
    folder = tmp_path_factory.mktemp("synthetic") / "study"
    write_study(folder, n_donors=4, n_tiles=32, height_px=160, width_px=160, labelled_tiles=16)
    path = folder / "study.yaml"
    study = yaml.safe_load(path.read_text()) | {"shard_tiles": 8, "n_resamples": 200}
    experiments = ("fine_tuning", "label_budgets", "gating", "thresholds")
    for name in (*experiments, "inference_recipe", "compare_with"):
        del study[name]
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return folder


@pytest.fixture(scope="session")
def experiments() -> dict[str, object]:
    """Fields of a study file that make it train and experiment, in seconds."""
    settings = {"n_epochs": 2, "images_per_epoch": 8, "batch_size": 4, "crop_px": 96}
    return {
        "fine_tuning": {"recipes": ["generic", "GFAP-only"], "settings": settings},
        "label_budgets": {"budgets": [1, 50, 60], "repeats": 1},
        "gating": {},
        "thresholds": {"recipes": ["baseline", "generic"]},
        "inference_recipe": "hybrid-gated",
        "compare_with": ["baseline"],
        "donor_statistics": {"min_tiles": 1, "n_resamples": 200, "n_tile_draws": 20},
    }


class Finished(NamedTuple):
    """A study with all experiments, run to its end."""

    folder: Path
    printed: str
    started: str
    """Time (ISO 8601, UTC) at which the command began."""
    ended: str

    @property
    def study(self) -> Path:
        """The study file."""
        return self.folder / "study.yaml"

    @property
    def keys(self) -> dict[str, str]:
        """Key of the inference of each recipe that segmented all tiles."""
        study = load_study(self.study)
        names = study.inference_recipes
        return {name: find_pending(study, name).inference.key for name in names}


@pytest.fixture(scope="session")
def finished(
    synthetic_study: Path,
    experiments: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
    somaflow: Run,
) -> Finished:
    """A study with all experiments run to its end, once; not to be written to."""
    started = datetime.now(UTC).isoformat()
    folder = tmp_path_factory.mktemp("finished") / "study"
    shutil.copytree(synthetic_study, folder)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | experiments, sort_keys=False))
    done = somaflow("run", "study", path)
    assert done.returncode == 0, done.stdout + done.stderr
    return Finished(folder, done.stdout, started, datetime.now(UTC).isoformat())


@pytest.fixture
def study(synthetic_study: Path, tmp_path: Path) -> Path:
    """A study file of one's own on a copy of the synthetic study."""
    folder = tmp_path / "study"
    shutil.copytree(synthetic_study, folder)
    return folder / "study.yaml"
