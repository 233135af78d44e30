"""Ends what claims to be under way within runs that have ended: tasks, and flows within flows.

A process that was killed tells nobody how its tasks ended, nor do messages that a server that was
away never got. What is there on the disk is not touched.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.states import Cancelled, Completed, Crashed

from tasks.trouble import not_vital

_UNDER_WAY = ["PENDING", "RUNNING", "CANCELLING"]
_ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
# The server works through what tasks tell it after their run has told its own end.
_SETTLE_AFTER = timedelta(minutes=5)
_PAGE = 200


def end_parts(client: SyncPrefectClient, run: FlowRun) -> int:
    """Ends what claims to be under way within a run that has ended; how much that was.

    Args:
        client: of the server that has the run.
        run: as it ended.
    """
    return _end_parts(client, run.id, _like(run.state))


def end_own_parts(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook of a flow that was cancelled or has crashed; the worker calls it for a dead process."""
    with not_vital(f"the end of tasks of {flow.name}"), get_client(sync_client=True) as client:
        _end_parts(client, flow_run.id, _like(state))


def end_all_parts(client: SyncPrefectClient) -> int:
    """As `end_parts`, for all runs that ended some minutes ago."""
    before = datetime.now(UTC) - _SETTLE_AFTER
    ended = _filter_runs(state={"type": {"any_": _ENDED}}, end_time={"before_": before})
    n_ended = 0
    while tasks := _read_tasks(client, ended):
        runs = client.read_flow_runs(
            flow_run_filter=_filter_runs(id={"any_": list(_runs_of(tasks))}), limit=_PAGE
        )
        n_ended += sum(end_parts(client, run) for run in runs)
    return n_ended


def _end_parts(client: SyncPrefectClient, run_id: UUID, state: State[Any]) -> int:
    n_ended = 0
    within = _filter_runs(parent_flow_run_id={"any_": [run_id]})
    for flow_run in client.read_flow_runs(flow_run_filter=within, limit=_PAGE):
        n_ended += _end_parts(client, flow_run.id, state)
        if flow_run.state_type is None or flow_run.state_type.value in _UNDER_WAY:
            client.set_flow_run_state(flow_run.id, state, force=True)
            n_ended += 1
    for task in _all_tasks(client, run_id):
        client.set_task_run_state(task.id, state, force=True)
        n_ended += 1
    return n_ended


def _like(state: State[Any] | None) -> State[Any]:
    """How a part ended of whose end nobody heard, by how its run did."""
    kind = None if state is None else state.type
    if kind == StateType.COMPLETED:
        return Completed(message="its run ended well; that this did, the server was not told")
    if kind in (StateType.CANCELLED, StateType.CANCELLING):
        return Cancelled(message="its run was cancelled")
    return Crashed(message="the run that it is part of ended before it")


def _all_tasks(client: SyncPrefectClient, run_id: UUID) -> Iterator[TaskRun]:
    """Those that claim to be under way; each page is ended by who asks before the next is read."""
    run = _filter_runs(id={"any_": [run_id]})
    while tasks := _read_tasks(client, run):
        yield from tasks


def _read_tasks(client: SyncPrefectClient, runs: FlowRunFilter) -> list[TaskRun]:
    under_way = TaskRunFilter.model_validate({"state": {"type": {"any_": _UNDER_WAY}}})
    return client.read_task_runs(flow_run_filter=runs, task_run_filter=under_way, limit=_PAGE)


def _runs_of(tasks: Collection[TaskRun]) -> set[UUID]:
    return {task.flow_run_id for task in tasks if task.flow_run_id is not None}


def _filter_runs(**fields: Any) -> FlowRunFilter:
    return FlowRunFilter.model_validate(fields)
