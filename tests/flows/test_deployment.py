"""Deployments work as docs/deployments.md says: `up`, then the command it prints, or the form."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.exceptions import PrefectHTTPStatusError

import somaflow
from flows.__main__ import FLOWS
from somaflow.paths import RunPaths
from tests.conftest import REPOSITORY
from tests.infra.services import Service, await_true

DEPLOYMENTS = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
STUDY_FLOWS = {name: entry.replace(":", ".") for name, entry in FLOWS.items()}
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")


def of(tag: str) -> dict[str, dict[str, Any]]:
    """Deployments with this tag, by entry point."""
    return {one["entrypoint"]: one for one in DEPLOYMENTS if tag in one["tags"]}


@pytest.mark.parametrize(("site", "limit"), [("laptop", 1), ("slurm", 4)])
def test_every_flow_is_deployed_for_every_site(site: str, limit: int) -> None:
    """prefect.yaml has each flow of the command line, by module path; a run too many waits."""
    deployments = of(site)
    assert set(STUDY_FLOWS.values()) == set(deployments)
    for deployment in deployments.values():
        assert {"site": site} == deployment["parameters"]
        assert {"limit": limit, "collision_strategy": "ENQUEUE"} == deployment["concurrency_limit"]
        assert ["somaflow", site] == deployment["tags"]
        assert site == deployment["name"]


def test_what_the_service_runs_itself_is_not_run_again() -> None:
    """Runs of `rerun` and `reconcile` have not the tag by which the automation finds failures."""
    service = of("somaflow-service")
    assert {"flows.rerun.rerun", "flows.reconcile.reconcile"} == set(service)
    assert all("somaflow" not in deployment["tags"] for deployment in service.values())
    assert len(service) + len(of("laptop")) + len(of("slurm")) == len(DEPLOYMENTS)


def test_deployments_say_what_they_do() -> None:
    """Each has a description of some words, somaflow's version, the one pool, and a heartbeat."""
    for deployment in DEPLOYMENTS:
        assert len(deployment["description"]) > 100
        assert somaflow.__version__ == deployment["version"]
        pool = deployment["work_pool"]
        assert "somaflow" == pool["name"]
        assert {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"} == pool["job_variables"]["env"]


def test_flows_can_be_loaded_in_any_thread() -> None:
    """The worker loads the flow of a crashed run, for its hooks, and not in its main thread."""
    code = (
        "import importlib, sys, threading\n"
        "loading = threading.Thread(target=importlib.import_module, args=('flows.study',))\n"
        "loading.start(); loading.join()\n"
        "print(hasattr(sys.modules.get('flows.study'), 'study'))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "True\n" == done.stdout, done.stderr


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service as `make serve` starts it."""
    service = Service.in_folder(tmp_path_factory.mktemp("service") / "home")
    with service.ending():
        service.up()
        yield service
        service.down()


def schema_of(service: Service, deployment: str) -> dict[str, Any]:
    """What the dashboard makes its form of."""
    with service.api() as client:
        return dict(client.read_deployment_by_name(deployment).parameter_openapi_schema or {})


@pytest.mark.parametrize("flow", STUDY_FLOWS)
@pytest.mark.server
@pytest.mark.slow
def test_form_explains_every_field(service: Service, flow: str) -> None:
    """Every parameter and every field of a study has a help text; a path comes first."""
    schema = schema_of(service, f"{flow}/laptop")
    models = [schema, *schema["definitions"].values()]
    fields = {name: field for model in models for name, field in model["properties"].items()}
    assert {"study", "site", "tiles", "output", "cellprob_threshold", "n_epochs"} <= set(fields)
    assert [] == [name for name, field in fields.items() if not field.get("description")]
    path, form = schema["properties"]["study"]["anyOf"]
    assert ("string", "path") == (path["type"], path["format"])
    assert {"$ref": "#/definitions/Study"} == form


@pytest.mark.server
@pytest.mark.slow
def test_form_offers_choices_and_limits(service: Service) -> None:
    """Where a study may be one of several things, or a number in a range, the form knows it."""
    models = schema_of(service, "study/slurm")["definitions"]
    layout = models["TileSource"]["properties"]["layout"]
    assert ["rosmap", "flat", "manifest"] == layout["enum"]
    study = models["Study"]["properties"]
    assert ["auto", "cuda", "cpu"] == study["device"]["enum"]
    shard = study["shard_tiles"]
    assert (1, 4096, 64) == (shard["minimum"], shard["maximum"], shard["default"])
    assert (0, 1) == (study["iou_threshold"]["exclusiveMinimum"], study["iou_threshold"]["maximum"])


@pytest.mark.server
@pytest.mark.slow
def test_value_out_of_range_is_refused_before_a_run(service: Service) -> None:
    """A form that was filled in wrongly starts nothing; the message names field and limit."""
    form = {"name": "s", "tiles": {"root": "/tiles"}, "output": "/out", "shard_tiles": 0}
    with pytest.raises(PrefectHTTPStatusError) as refused:
        service.start("e5-inference/laptop", study=form)
    assert "'study.shard_tiles'" in refused.value.response.text
    assert "0 is less than the minimum of 1" in refused.value.response.text


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
def test_deployment_run_completes(service: Service, study: Path) -> None:
    """The command that `up` prints, with the path of a study: the whole study completes."""
    url = f"http://127.0.0.1:{service.port}/api"
    command = [sys.executable, "-m", "prefect", "deployment", "run", "study/laptop"]
    done = subprocess.run(
        [*command, "--param", f"study={study}"],
        env={**os.environ, "PREFECT_API_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with service.api() as client:
        (run,) = [run for run in client.read_flow_runs() if "somaflow" in run.tags]
    await_true(lambda: service.state_of(run) in ENDED, service.logs, limit_s=480)
    assert "Completed" == service.state_of(run), service.logs()
    (key,) = RunPaths(study.parent / "output").inference_keys()
    assert list((study.parent / "output" / "ledger" / key).glob("shard-*.json"))
