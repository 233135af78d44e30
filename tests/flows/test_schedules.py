"""A schedule starts runs: with the libraries that are installed, the server's scheduler works."""

import asyncio
import time
from datetime import timedelta

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import IntervalSchedule

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]
LIMIT_S = 180
"""The scheduler looks once a minute."""


@flow(name="nightly")
def nightly() -> None:
    """Is never run: that it is to be run is all."""


async def _deploy(api_url: str) -> str:
    schedule = IntervalSchedule(interval=timedelta(days=1))
    async with PrefectClient(api_url) as client:
        flow_id = await client.create_flow(nightly)
        made = await client.create_deployment(
            flow_id,
            name="scheduled",
            schedules=[DeploymentScheduleCreate(schedule=schedule, active=True)],
        )
    return str(made)


def test_deployment_with_a_schedule_gets_its_runs(api_url: str) -> None:
    """Within minutes the server has noted the next nights' runs."""
    deployment = asyncio.run(_deploy(api_url))
    body = {
        "flow_runs": {
            "deployment_id": {"any_": [deployment]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
        }
    }
    deadline, found = time.monotonic() + LIMIT_S, []
    while not found and time.monotonic() < deadline:
        time.sleep(2)
        found = httpx.post(f"{api_url}/flow_runs/filter", json=body, timeout=30).json()
    assert found
    assert all(run["auto_scheduled"] for run in found)
