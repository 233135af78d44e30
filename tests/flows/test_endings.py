"""What a run that has ended leaves Running is ended, however deep; what goes on is left alone."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed, Running

from flows import endings
from flows.__main__ import FLOWS
from flows.endings import end_all_parts, end_parts
from flows.reconcile import reconcile
from flows.rerun import rerun
from tests.flows.served import connected

pytestmark = [pytest.mark.server, pytest.mark.slow]


@task
def part() -> None:
    """Never called: only its runs' states matter."""


@flow(name="e5-inference")
def whole() -> None:
    """Likewise."""


@pytest.fixture(scope="module")
def client(api_url: str) -> Iterator[SyncPrefectClient]:
    """Of the server that the flow under test talks to."""
    with connected(api_url) as connection:
        yield connection


def start(client: SyncPrefectClient, **where: Any) -> FlowRun:
    """A flow run that is under way."""
    return client.create_flow_run(whole, state=Running(), **where)


def start_part(client: SyncPrefectClient, run: FlowRun, key: str = "0") -> Any:
    """Id of a task run of it that is under way."""
    return client.create_task_run(part, run.id, dynamic_key=key, state=Running()).id


def end(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> FlowRun:
    """The run, ended so."""
    client.set_flow_run_state(run.id, state, force=True)
    return client.read_flow_run(run.id)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (Crashed(), StateType.CRASHED),
        (Failed(), StateType.CRASHED),
        (Cancelled(), StateType.CANCELLED),
        (Cancelling(), StateType.CANCELLED),
        (Completed(), StateType.COMPLETED),
    ],
)
def test_parts_end_as_their_run_did(
    client: SyncPrefectClient, ended: State[Any], expected: StateType
) -> None:
    """A task, a flow within the run and that flow's own task; each says whose end it is."""
    run = start(client)
    ids = [start_part(client, run), start_part(client, run, "1")]
    inner = start(client, parent_task_run_id=ids[1])
    ids.append(start_part(client, inner))
    # The task that stands for a flow ends with it, without being counted.
    assert 3 == end_parts(client, end(client, run, ended))
    assert [expected] * 3 == [client.read_task_run(one).state_type for one in ids]
    found = client.read_flow_run(inner.id)
    assert expected == found.state_type
    assert found.state is not None
    assert "run" in (found.state.message or "")


def test_every_night_all_ended_runs_are_looked_at_and_no_other(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of a run that goes on, or that ended just now, stays what it is."""
    ended, alive = start(client), start(client)
    orphan, at_work = start_part(client, ended), start_part(client, alive)
    end(client, ended, Crashed())
    end_all_parts(client)
    assert StateType.RUNNING == client.read_task_run(orphan).state_type
    monkeypatch.setattr(endings, "_SETTLE_AFTER", endings._SETTLE_AFTER * 0)
    assert 1 == end_all_parts(client)
    assert StateType.CRASHED == client.read_task_run(orphan).state_type
    assert StateType.RUNNING == client.read_task_run(at_work).state_type


def test_who_looks_after_a_crashed_run_ends_its_parts(client: SyncPrefectClient) -> None:
    """`rerun` leaves no task Running in what it looks after, whether that is run again or not."""
    run = start(client)
    orphan = start_part(client, run)
    rerun(end(client, run, Crashed()).id)
    assert StateType.CRASHED == client.read_task_run(orphan).state_type


def test_who_repairs_at_night_ends_parts(
    client: SyncPrefectClient, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reconcile` does so for all that has ended."""
    monkeypatch.setattr(endings, "_SETTLE_AFTER", endings._SETTLE_AFTER * 0)
    run = start(client)
    orphan = start_part(client, run)
    end(client, run, Cancelled())
    reconcile([tmp_path])
    assert StateType.CANCELLED == client.read_task_run(orphan).state_type


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_ends_its_parts_when_it_is_cancelled_or_crashes(name: str) -> None:
    """Prefect's worker calls the hooks of a flow whose process it has ended or that has died."""
    module, attribute = FLOWS[name].split(":")
    hooked = getattr(import_module(module), attribute)
    assert [endings.end_own_parts] == hooked.on_cancellation_hooks == hooked.on_crashed_hooks


def test_hook_ends_the_parts_of_a_run(client: SyncPrefectClient) -> None:
    """As the worker calls it: with the run and the state it is in."""
    run = start(client)
    orphan = start_part(client, run)
    endings.end_own_parts(whole, run, Cancelling())
    assert StateType.CANCELLED == client.read_task_run(orphan).state_type
