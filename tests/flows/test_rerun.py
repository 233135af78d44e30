"""What failed is run again after a wait that grows, a few times; a person hears of the rest."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.states import Cancelled, Completed, Crashed, Failed

from flows.rerun import rerun
from tests.flows.served import connected, deploy, start

pytestmark = [pytest.mark.server, pytest.mark.slow]

FULL = "Flow run encountered an exception: OutputError: output must be writable: the disk is full"
WRONG = "Flow run encountered an exception: ModelError: model must be tiny, found no file at 'x.pt'"
WAITS = [1.0, 10.0]


@pytest.fixture(scope="module")
def client(api_url: str) -> Iterator[SyncPrefectClient]:
    """Of the server that the flow under test talks to."""
    with connected(api_url) as connection:
        yield connection


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[UUID]:
    """A deployment of e5-inference that has no run yet."""
    made = deploy(client, "e5-inference")["e5-inference"]
    yield made
    client.delete_deployment(made)


def runs_of(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    """All runs of the deployment, the first one first."""
    which = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    return client.read_flow_runs(
        flow_run_filter=which, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=50
    )


def pages(client: SyncPrefectClient) -> list[Any]:
    """Contents of the artifacts that call a person, the newest first."""
    key = ArtifactFilter(key=ArtifactFilterKey(any_=["needs-a-person"]))
    found = client.read_artifacts(artifact_filter=key, sort=ArtifactSort.CREATED_DESC)
    return [artifact.data for artifact in found]


def test_full_disk_is_tried_again_after_the_wait(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    """One new run, of the same deployment and parameters, in a minute; it leads to the first."""
    failed = start(client, deployment, Failed(message=FULL), study="/x/study.yaml", site="here")
    before = datetime.now(UTC)
    assert "scheduled" == rerun(failed.id, WAITS)["action"]
    first, second = runs_of(client, deployment)
    assert failed.id == first.id
    assert failed.parameters == second.parameters
    assert StateType.SCHEDULED == second.state_type
    assert {"place", "attempt-2", f"first-run-{failed.id}"} == set(second.tags)
    assert second.expected_start_time is not None
    wait = second.expected_start_time - before
    assert timedelta(minutes=1) <= wait < timedelta(minutes=2)


def test_event_that_comes_twice_starts_one_run(client: SyncPrefectClient, deployment: UUID) -> None:
    """The second delivery finds what the first one has scheduled."""
    crashed = start(client, deployment, Crashed(message="no heartbeat for 90 s"))
    assert rerun(crashed.id, WAITS) == rerun(crashed.id, WAITS)
    assert 2 == len(runs_of(client, deployment))


def test_last_attempt_is_the_last(client: SyncPrefectClient, deployment: UUID) -> None:
    """Waits grow from attempt to attempt; after them nothing is scheduled and a person is called.

    Each attempt knows the first run.
    """
    run = start(client, deployment, Failed(message=FULL), study="/y/study.yaml")
    first = run.id
    for number, minutes in enumerate(WAITS, 2):
        done = rerun(run.id, WAITS)
        assert number == done["attempt"]
        run = client.read_flow_run(UUID(done["run"]))
        assert {"place", f"attempt-{number}", f"first-run-{first}"} == set(run.tags)
        assert run.expected_start_time is not None
        wait = run.expected_start_time - datetime.now(UTC)
        assert timedelta(minutes=minutes - 1) < wait <= timedelta(minutes=minutes)
        client.set_flow_run_state(run.id, Failed(message=FULL), force=True)
    assert "person" == rerun(run.id, WAITS)["action"]
    assert 3 == len(runs_of(client, deployment))
    (page, *_) = pages(client)
    assert "3 attempts failed, there is no further one" in page
    assert f"    {FULL}" in page
    assert "e5-inference of /y/study.yaml needs a person" in page


def test_cause_that_cannot_heal_calls_a_person_at_once(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    """No run is scheduled; the page names run, study, cause and what to do."""
    form = {"name": "mine", "output": "/z/output"}
    failed = start(client, deployment, Failed(message=WRONG), study=form)
    assert "person" == rerun(failed.id)["action"]
    assert 1 == len(runs_of(client, deployment))
    (page, *_) = pages(client)
    assert "e5-inference of mine (outputs in /z/output) needs a person" in page
    assert str(failed.id) in page
    assert f"    {WRONG}" in page
    assert "press Retry on the run's page" in page


def test_what_is_no_failure_of_a_deployed_study_is_left_alone(
    client: SyncPrefectClient, deployment: UUID
) -> None:
    """Cancelled, completed, gone, or a flow of the service itself: neither run nor page."""
    n_pages = len(pages(client))
    for state in (Cancelled(), Completed()):
        assert "none" == rerun(start(client, deployment, state).id)["action"]
    assert "it is not there any more" == rerun(uuid4())["why"]
    service = deploy(client, "reconcile")["reconcile"]
    broken = start(client, service, Failed(message=FULL))
    assert "reconcile is not a flow of a study" == rerun(broken.id)["why"]
    assert 2 == len(runs_of(client, deployment))
    assert 1 == len(runs_of(client, service))
    assert n_pages == len(pages(client))
