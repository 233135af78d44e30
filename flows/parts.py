"""What a cancelled run leaves on the dashboard: nothing that claims to be under way."""

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.states import Cancelled

_UNDER_WAY = [kind for kind in StateType if kind not in TERMINAL_STATES]


def cancel_parts(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Cancels what a cancelled run had under way: its subflows and all their tasks.

    The run's process says so itself, unless it took longer than its half minute to end, and was
    killed. Prefect calls this when the process is gone.
    """
    cancelled: State[Any] = Cancelled(message="The run that it is part of was cancelled.")
    with get_client(sync_client=True) as client:
        parts = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)),
            )
        )
        for part in parts:
            client.set_flow_run_state(part.id, cancelled, force=True)
        tasks = client.read_task_runs(
            task_run_filter=TaskRunFilter(
                flow_run_id=TaskRunFilterFlowRunId(
                    any_=[flow_run.id, *(part.id for part in parts)]
                ),
                state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNDER_WAY)),
            )
        )
        for task in tasks:
            client.set_task_run_state(task.id, cancelled, force=True)
