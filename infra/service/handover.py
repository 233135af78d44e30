"""Gives a run that failed to the flow `rerun` where no event does."""

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

RERUN = "rerun/service"


def give_to_rerun(client: SyncPrefectClient, run: FlowRun, why: str) -> FlowRun | None:
    """Starts `rerun` for the run, once for each of its states; None where it is not deployed."""
    try:
        rerun = client.read_deployment_by_name(RERUN)
    except ObjectNotFound:
        return None
    return client.create_flow_run_from_deployment(
        rerun.id,
        parameters={"flow_run_id": str(run.id)},
        idempotency_key=f"{why} {run.id} {run.state_id}",
    )
