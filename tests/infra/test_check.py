"""`somaflow check --site` on a real SLURM: what is wrong is said in words, and no job is left."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.check import find_site_problems
from infra.sandbox import Sandbox
from infra.specs import SITES
from somaflow.study import Study
from tests.slurm import running_sandbox

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A real SLURM of two nodes."""
    with running_sandbox(tmp_path_factory.mktemp("slurm") / "sandbox") as sandbox:
        os.environ["SLURM_CONF"] = str(sandbox.conf)
        yield sandbox
        del os.environ["SLURM_CONF"]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study on the CPU; only its device and its outputs matter here."""
    tiles: Any = {"root": tmp_path}
    return Study(name="site", tiles=tiles, output=tmp_path / "output", device="cpu")


def problems(sandbox: Sandbox, study: Study, api: str = "", **fields: Any) -> list[str]:
    """What is wrong with the sandbox's site, changed so; afterwards no job is left."""
    content = yaml.safe_load(sandbox.site.read_text()) | fields
    path = study.output.parent / "site.yaml"
    path.write_text(yaml.safe_dump(content))
    found = find_site_problems(study, str(path), api)
    assert "" == sandbox.ask("squeue", "-h", "-t", "PD,R").strip()
    return found


def test_site_that_works_has_no_problem(
    sandbox: Sandbox, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job runs, reaches the scheduler's address and leaves nothing behind."""
    assert [] == problems(sandbox, study)
    assert "Node " in capsys.readouterr().err
    assert [] == list((study.output / "logs" / "slurm").iterdir())


def test_laptop_needs_no_job(study: Study) -> None:
    """A local site is ready as it is."""
    assert [] == find_site_problems(study, "laptop")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"partition": "gqu"}, ["sbatch must accept", "invalid partition"]),
        ({"memory_gb": 900}, ["sbatch must accept", "node configuration is not available"]),
        (
            {"directives": ["--hold"], "pending_limit_minutes": 0.01},
            ["must start within 0.01 minutes", "JobHeldUser"],
        ),
        ({"python": "/nowhere/python"}, ["must leave its report", "/nowhere/python"]),
        ({"setup": ["echo no such module >&2", "exit 3"]}, ["Its last lines: no such module"]),
        ({"interface": "ib77"}, ["got 'ib77'"]),
    ],
)
def test_what_is_wrong_is_quoted(
    sandbox: Sandbox, study: Study, fields: dict[str, Any], words: list[str]
) -> None:
    """SLURM's or the job's own last lines are in the one message."""
    (problem,) = problems(sandbox, study, **fields)
    assert all(word in problem for word in words), problem


def test_gpu_that_torch_cannot_use_is_named(sandbox: Sandbox, study: Study) -> None:
    """The sandbox's GPUs are pretended: a study that needs one is told so before it starts."""
    (problem,) = problems(sandbox, study.model_copy(update={"device": "cuda"}))
    assert "must have a GPU that torch can use" in problem
    assert "nvidia-smi shows none" in problem


def test_api_that_nodes_do_not_reach_is_named(sandbox: Sandbox, study: Study) -> None:
    """Port 9 discards; nobody listens."""
    (problem,) = problems(sandbox, study, api="http://127.0.0.1:9/api")
    assert "must reach the Prefect API" in problem
    assert "refused" in problem


def test_other_version_on_the_node_is_named(sandbox: Sandbox, study: Study, tmp_path: Path) -> None:
    """One changed line in the code that the node runs is enough."""
    copy = tmp_path / "copy"
    for room in ("somaflow", "infra", "tasks", "flows"):
        shutil.copytree(SITES.parent / room, copy / room)
    with (copy / "tasks" / "__init__.py").open("a") as file:
        file.write("# another version\n")
    (problem,) = problems(sandbox, study, directives=[f"--chdir={copy}"])
    assert "must run this version of somaflow" in problem
