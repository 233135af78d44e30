"""Deployments that no worker serves, and runs of them in whatever state a test wants."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

SITE = "nowhere"


@contextmanager
def connected(api_url: str) -> Iterator[SyncPrefectClient]:
    """Lets flows that are called in this process, and the client, talk to that server."""
    with (
        temporary_settings({PREFECT_API_URL: api_url}),
        get_client(sync_client=True) as client,
    ):
        yield client
        # At exit the server is gone, and they would try for a minute to reach it.
        for service in (EventsWorker, APILogWorker):
            service.drain_all(timeout=10, at_exit=False)


def deploy(client: SyncPrefectClient, *flows: str) -> dict[str, UUID]:
    """Deployments `<flow>/nowhere`, by flow."""
    made = {}
    for name in flows:
        flow = client.create_flow_from_name(name)
        made[name] = client.create_deployment(
            flow, name=SITE, entrypoint="nowhere:f", enforce_parameter_schema=False, tags=["place"]
        )
    return made


def start(
    client: SyncPrefectClient,
    deployment: UUID,
    state: State | None = None,
    key: str | None = None,
    **parameters: Any,
) -> FlowRun:
    """A run of the deployment, which is then put into that state."""
    run = client.create_flow_run_from_deployment(
        deployment, parameters=parameters, idempotency_key=key
    )
    if state is not None:
        client.set_flow_run_state(run.id, state, force=True)
    return client.read_flow_run(run.id)
