"""Runs that claim to be under way without a process: `python -m infra.service.settle`.

The supervisor calls this before it starts a worker, when no process of a former one is left: a run
that is ended together with its worker has nobody to say so.
"""

from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Crashed

from infra.service.handover import give_to_rerun
from infra.service.settings import POOL

_UNDER_WAY = ["PENDING", "RUNNING", "CANCELLING"]
_CUT_OFF = "its worker, the service or the machine was ended while this ran"
_TAG = "somaflow"
_PAGE = 200


def settle_runs(client: SyncPrefectClient) -> list[FlowRun]:
    """Ends runs of the pool that claim to be under way, and returns them.

    What somebody was cancelling is Cancelled. The others crashed, by the name CutOff, and are given
    to the flow `rerun` here. The automation of that name listens to Crashed: a server that has just
    started would hold that event back for a quarter of an hour, since it did not see what came
    before it.
    """
    settled = []
    runs = FlowRunFilter.model_validate({"state": {"type": {"any_": _UNDER_WAY}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    while found := client.read_flow_runs(
        flow_run_filter=runs, work_pool_filter=pool, limit=_PAGE, offset=0
    ):
        for run in found:
            _settle(client, run)
        settled += found
    return settled


def _settle(client: SyncPrefectClient, run: FlowRun) -> None:
    cancelled = run.state is not None and run.state.is_cancelling()
    state: State[Any] = Crashed(name="CutOff", message=_CUT_OFF)
    if cancelled:
        state = Cancelled(message=_CUT_OFF)
    client.set_flow_run_state(run.id, state, force=True)
    print(f"{run.name} was cut off; it is {state.type.value.lower()} now", flush=True)
    if cancelled or _TAG not in run.tags:
        return
    give_to_rerun(client, run, "cut off")


if __name__ == "__main__":
    with get_client(sync_client=True) as api:
        settle_runs(api)
