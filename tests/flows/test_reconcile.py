"""Studies with unfinished work are found on disk, and what finishes them is started, once."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, State

from flows import history
from flows.reconcile import reconcile
from somaflow.claims import claim_study
from somaflow.errors import StudyError
from somaflow.stages import note_stages, stages_of
from somaflow.study import Study, load_study
from tests.begun import add_page, make_older, prepare, segment, write_study
from tests.flows.served import SITE, connected, deploy, start

pytestmark = [pytest.mark.server, pytest.mark.slow]
FLOWS = ("e1-recipes", "e5-inference", "e5-donors", "study")
WRONG = "Flow run encountered an exception: DeviceError: device cuda must be there, found none"


@pytest.fixture(scope="module")
def client(api_url: str) -> Iterator[SyncPrefectClient]:
    """Of the server that the flow under test talks to."""
    with connected(api_url) as connection:
        yield connection


@pytest.fixture
def deployments(client: SyncPrefectClient) -> Iterator[dict[str, UUID]]:
    """Deployments without a run."""
    made = deploy(client, *FLOWS)
    yield made
    for deployment in made.values():
        client.delete_deployment(deployment)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The file of a study of which one of three shards is committed."""
    path = write_study(tmp_path / "mine")
    segment(prepare(path), 0)
    # A moment before all that may happen to it on the server.
    for file in (path, path.parent / "manifest.csv"):
        make_older(file, 1)
    return path


@pytest.fixture
def look(client: SyncPrefectClient, tmp_path: Path) -> Any:
    """Runs reconcile, and returns the rows of the table that it leaves."""

    def run() -> list[dict[str, str]]:
        reconcile(roots=[tmp_path], site=SITE, stale_days=7)
        key = ArtifactFilter(key=ArtifactFilterKey(any_=["reconcile"]))
        newest, *_ = client.read_artifacts(artifact_filter=key, sort=ArtifactSort.CREATED_DESC)
        return json.loads(newest.data) if isinstance(newest.data, str) else newest.data

    return run


def runs_of(client: SyncPrefectClient, deployments: dict[str, UUID]) -> dict[str, list[FlowRun]]:
    """Runs by flow, of flows that have some."""
    found = {}
    for flow, deployment in deployments.items():
        which = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        if runs := client.read_flow_runs(flow_run_filter=which):
            found[flow] = runs
    return found


def end(client: SyncPrefectClient, run: FlowRun, state: State) -> None:
    """Lets a run end, as a worker would."""
    client.set_flow_run_state(run.id, Running(), force=True)
    client.set_flow_run_state(run.id, state, force=True)


def test_unfinished_inference_is_started_once(
    client: SyncPrefectClient, deployments: dict[str, UUID], study: Path, look: Any
) -> None:
    """The deployment of the site, with the study's path; the next look sees it waiting."""
    (row,) = look()
    assert "2 of 3 shards of bright are not committed" == row["unfinished"]
    assert (str(study), "e5-inference") == (row["study"], row["flow"])
    runs = runs_of(client, deployments)
    assert ["e5-inference"] == list(runs)
    (run,) = runs["e5-inference"]
    assert row["done"] == f"started e5-inference/{SITE} (run {run.id})"
    assert {"study": str(study)} == run.parameters
    assert {"place", "reconcile"} == set(run.tags)
    (row,) = look()
    assert row["done"].startswith(f"run {run.name!r} is scheduled, from ")
    assert 1 == len(runs_of(client, deployments)["e5-inference"])


def test_two_looks_at_the_same_moment_start_one_run(
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    study: Path,
    look: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each asked the server before the other had started anything."""
    monkeypatch.setattr(history.History, "of_study", lambda *_: [])
    (first,), (second,) = look(), look()
    assert first == second
    assert 1 == len(runs_of(client, deployments)["e5-inference"])


@pytest.mark.parametrize("state", [Pending(), Running()])
def test_study_with_a_run_is_left_alone(
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    study: Path,
    look: Any,
    state: State,
) -> None:
    """Whatever flow it is, and whether it was given the study's file or its content."""
    content = load_study(study).model_dump(mode="json")
    run = start(client, deployments["study"], state, study=content)
    (row,) = look()
    assert row["done"].startswith(f"run {run.name!r} is {run.state_name.lower()}")
    assert ["study"] == list(runs_of(client, deployments))


def test_study_at_work_on_disk_is_left_alone(
    client: SyncPrefectClient, deployments: dict[str, UUID], study: Path, look: Any
) -> None:
    """A run that another server knows of, or none, has the study's claim."""
    with claim_study(load_study(study).paths, "segment all of begun"):
        (row,) = look()
    assert "run 'segment all of begun' (process" in row["done"]
    assert "is at work on it" in row["done"]
    assert {} == runs_of(client, deployments)


def test_run_that_died_is_started_again_the_next_night(
    client: SyncPrefectClient, deployments: dict[str, UUID], study: Path, look: Any
) -> None:
    """A new run each night; when three got no further, a person is asked for; progress counts."""
    for number in (1, 2, 3):
        look()
        runs = runs_of(client, deployments)["e5-inference"]
        assert number == len(runs)
        (run,) = [one for one in runs if one.state_type == StateType.SCHEDULED]
        end(client, run, Crashed(message="no heartbeat for 90 s"))
    (row,) = look()
    assert "not started: it needs a person, 3 runs in a row got no further with it" == row["done"]
    segment(load_study(study), 1)
    (row,) = look()
    assert row["done"].startswith("started e5-inference")


def test_cause_that_cannot_heal_is_told_until_inputs_change(
    client: SyncPrefectClient, deployments: dict[str, UUID], study: Path, look: Any
) -> None:
    """Nothing is started where the last run failed for good; a study file that is saved may."""
    run = start(client, deployments["study"], study=str(study))
    end(client, run, Failed(message=WRONG))
    (row,) = look()
    told = f"not started: it needs a person, run {run.name!r} failed with: {WRONG}"
    assert told == row["done"]
    assert ["study"] == list(runs_of(client, deployments))
    later = time.time() + 5
    os.utime(study, (later, later))
    (row,) = look()
    assert row["done"].startswith("started e5-inference")


def test_cancelled_run_is_not_started_again(
    client: SyncPrefectClient, deployments: dict[str, UUID], study: Path, look: Any
) -> None:
    """Who cancelled it meant it."""
    end(client, start(client, deployments["e5-inference"], study=str(study)), Cancelled())
    (row,) = look()
    assert "was cancelled; who did that starts it again" in row["done"]


def test_run_that_ended_well_and_changed_nothing_is_not_started_again(
    client: SyncPrefectClient, deployments: dict[str, UUID], study: Path, look: Any
) -> None:
    """What is on disk is not what the flow makes of it: somebody must look."""
    look()
    (run,) = runs_of(client, deployments)["e5-inference"]
    end(client, run, Completed())
    (row,) = look()
    assert "was started for just this, ended well and left it so" in row["done"]


def test_old_quarantine_is_started_with_its_parameter(
    client: SyncPrefectClient, deployments: dict[str, UUID], tmp_path: Path, look: Any
) -> None:
    """e5-inference tries those tiles again."""
    path = write_study(tmp_path / "mine")
    study = prepare(path)
    key = segment(study, 0, 1, 2, bad_tile="t001")
    make_older(study.paths.record(key, 0), 12)
    look()
    (run,) = runs_of(client, deployments)["e5-inference"]
    assert {"study": str(path), "retry_quarantined": True} == run.parameters


def note_whole(study: Study) -> None:
    """As if the flow `study` had begun it."""
    note_stages(study.paths, stages_of(study, has_labelled=False))


def test_several_flows_are_one_run_of_the_whole_study(
    client: SyncPrefectClient, deployments: dict[str, UUID], study: Path, look: Any
) -> None:
    """Where `study` has run before it does all that is missing; both rows say so."""
    note_whole(load_study(study))
    rows = look()
    assert ["e5-inference", "e5-donors"] == [row["flow"] for row in rows]
    (run,) = runs_of(client, deployments)["study"]
    assert {f"started study/{SITE} (run {run.id})"} == {row["done"] for row in rows}
    assert ["study"] == list(runs_of(client, deployments))


@pytest.mark.parametrize(
    ("failure", "started", "left"),
    [
        ("MemoryError: 8 GB", "e1-recipes", "not started: e1-recipes comes first"),
        (
            "TrainingError: not a number",
            "e5-inference",
            "not started: it needs a person, the cause",
        ),
    ],
)
def test_one_flow_at_a_time_in_the_order_of_the_data(
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    study: Path,
    look: Any,
    failure: str,
    started: str,
    left: str,
) -> None:
    """Where flows were run one by one, so they are again; one that cannot heal holds up nothing."""
    heading = "**1 run(s) failed and are missing here:**"
    add_page(load_study(study), "e1-recipes", f"{heading}\n\n- `generic: {failure}`")
    done = {row["flow"]: row["done"] for row in look()}
    assert [started] == list(runs_of(client, deployments))
    assert done.pop(started).startswith(f"started {started}")
    (other,) = done.values()
    assert other.startswith(left)


@pytest.fixture
def looker(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[UUID]:
    """The deployment of `rerun`, and events that are never held back."""
    monkeypatch.setattr("infra.service.handover.RERUN", f"rerun/{SITE}")
    monkeypatch.setattr("flows.reconcile._HELD_BACK_MINUTES", 0)
    (deployment,) = deploy(client, "rerun").values()
    yield deployment
    client.delete_deployment(deployment)


def given_to(client: SyncPrefectClient, looker: UUID, run: FlowRun) -> list[FlowRun]:
    """Runs of `rerun` that look at this run."""
    runs = runs_of(client, {"rerun": looker}).get("rerun", [])
    return [one for one in runs if one.parameters == {"flow_run_id": str(run.id)}]


def test_failure_of_which_nobody_heard_is_given_to_rerun(
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    looker: UUID,
    tmp_path: Path,
    look: Any,
) -> None:
    """Nothing on disk tells of a study that never began; looked at once, it is left alone."""
    study = str(tmp_path / "empty" / "study.yaml")
    run = start(client, deployments["study"], study=study)
    end(client, run, Failed(message=WRONG))
    (row,) = [row for row in look() if row["study"] == study]
    assert ("study", f"run {run.name!r} failed, unheard") == (row["flow"], row["unfinished"])
    (given,) = given_to(client, looker, run)
    assert f"given to rerun (run {given.id})" == row["done"]
    assert [] == [row for row in look() if row["study"] == study]
    assert [given.id] == [one.id for one in given_to(client, looker, run)]


def test_failure_that_somebody_saw_to_is_left_alone(
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    looker: UUID,
    study: Path,
    tmp_path: Path,
    look: Any,
) -> None:
    """Because `rerun` has looked at it, another run came after it, or the disk tells of it."""
    seen, superseded = (str(tmp_path / name / "study.yaml") for name in ("seen", "superseded"))
    looked_at, followed, told = (
        start(client, deployments["study"], study=path) for path in (seen, superseded, str(study))
    )
    end(client, looked_at, Crashed(message="no heartbeat"))
    start(client, looker, Completed(), flow_run_id=str(looked_at.id))
    end(client, followed, Crashed(message="killed"))
    start(client, deployments["study"], Completed(), study=superseded)
    end(client, told, Failed(message=WRONG))
    (row,) = [row for row in look() if str(tmp_path) in row["study"]]
    assert str(study) == row["study"]
    assert "needs a person" in row["done"]
    assert 1 == len(given_to(client, looker, looked_at))
    assert [] == given_to(client, looker, followed) + given_to(client, looker, told)


def test_failure_that_the_automation_may_still_hear_of_is_left_to_it(
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    looker: UUID,
    tmp_path: Path,
    look: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prefect may hold an event back for a quarter of an hour."""
    monkeypatch.setattr("flows.reconcile._HELD_BACK_MINUTES", 30)
    run = start(client, deployments["study"], study=str(tmp_path / "study.yaml"))
    end(client, run, Failed(message=WRONG))
    look()
    assert [] == given_to(client, looker, run)


def test_broken_study_does_not_stop_the_others(
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    study: Path,
    look: Any,
    tmp_path: Path,
) -> None:
    """A file that cannot be read is a row with its reason; nothing is run for it."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.yaml").write_text("name: [")
    prepare(write_study(tmp_path / "new"))
    broken, row = look()
    assert "not looked at: study must be a YAML file" in broken["done"]
    assert str(study) == row["study"]
    assert 1 == len(runs_of(client, deployments)["e5-inference"])


def test_missing_deployment_is_told(study: Path, look: Any) -> None:
    """It says which, and how to have it."""
    (row,) = look()
    assert row["done"].startswith(f"not started: there is no deployment e5-inference/{SITE}")


def test_folders_must_be_named(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SOMAFLOW_STUDIES and `roots`, or with a folder that is gone, it says what to do."""
    monkeypatch.delenv("SOMAFLOW_STUDIES", raising=False)
    with pytest.raises(StudyError, match="set SOMAFLOW_STUDIES"):
        reconcile()
    monkeypatch.setenv("SOMAFLOW_STUDIES", f"/nowhere{os.pathsep}")
    with pytest.raises(StudyError, match="found none at /nowhere; mount"):
        reconcile()
