"""Runs again, after a while, what failed or crashed, if that may help; else says who must act.

An automation starts it with the id of each run that failed, crashed or timed out.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled
from prefect.utilities.urls import url_for

from flows.endings import end_parts
from flows.history import FLOWS, RERUN
from somaflow.failures import Cause, read_cause
from tasks.privacy import discreet
from tasks.reporting import show_page

WAITS_MINUTES = [1.0, 10.0, 60.0, 240.0]
_ATTEMPT, _FIRST = "attempt-", "first-run-"
_FAILED = (StateType.FAILED, StateType.CRASHED)


@flow(name=RERUN, flow_run_name="look after {flow_run_id}")
@discreet
def rerun(flow_run_id: UUID, waits_minutes: list[float] = WAITS_MINUTES) -> dict[str, Any]:
    """Starts a run again that failed, after a wait that grows, or reports what a person must mend.

    Args:
        flow_run_id: The run that failed, crashed or timed out.
        waits_minutes: How long to wait before the second, third, ... attempt; after so many, none.
    """
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(flow_run_id)
        except ObjectNotFound:
            return _leave("it is not there any more")
        name = client.read_flow(run.flow_id).name
        if reason := _find_reason_to_leave(run, name):
            return _leave(reason)
        end_parts(client, run)
        if run.deployment_id is None:
            return _leave("it was not started from a deployment: who started it knows")
        cause = read_cause(run.state.message if run.state is not None else None)
        attempt = _attempt(run.tags)
        if not cause.heals:
            return _report(run, name, cause, "it does not heal by itself")
        if attempt > len(waits_minutes):
            return _report(run, name, cause, f"{attempt} attempts failed, there is no further one")
        return _run_again(
            client, run, run.deployment_id, cause, attempt + 1, waits_minutes[attempt - 1]
        )


def _find_reason_to_leave(run: FlowRun, name: str) -> str:
    """Why the run is none to be run again, in words; empty if it is one."""
    if name not in FLOWS:
        return f"{name} is not a flow of a study"
    if run.state_type not in _FAILED:
        return f"it is {(run.state_name or 'without a state').lower()} by now"
    if run.parent_task_run_id is not None:
        return "it is part of another run, which says how it ended"
    return ""


def _run_again(
    client: SyncPrefectClient,
    run: FlowRun,
    deployment_id: UUID,
    cause: Cause,
    attempt: int,
    wait_minutes: float,
) -> dict[str, Any]:
    """Schedules one attempt, however often it is asked to."""
    first = _find_tag(run.tags, _FIRST) or str(run.id)
    try:
        made = client.create_flow_run_from_deployment(
            deployment_id,
            parameters=run.parameters,
            state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(minutes=wait_minutes)),
            idempotency_key=f"rerun-{first}-{attempt}",
            tags=[*_plain(run.tags), f"{_ATTEMPT}{attempt}", f"{_FIRST}{first}"],
        )
    except ObjectNotFound:
        return _leave("its deployment is not there any more")
    get_run_logger().info(
        "%s failed with: %s; attempt %d of it begins in %g minutes (run %s)",
        *(run.name, cause.line, attempt, wait_minutes, made.id),
    )
    return {"action": "scheduled", "run": str(made.id), "attempt": attempt}


def _report(run: FlowRun, name: str, cause: Cause, why: str) -> dict[str, Any]:
    """Leaves the page that says what a person must do."""
    study = run.parameters.get("study")
    if isinstance(study, dict):
        study = f"{study.get('name')} (outputs in {study.get('output')})"
    link = f"[{run.name}]({url})" if (url := url_for(run)) else run.name
    heading = f"{name} of {study} needs a person"
    quoted = "\n".join(f"    {line}" for line in cause.words.splitlines())
    show_page(
        "needs-a-person",
        heading,
        f"# {heading}\n\nRun {link} ({run.id}) {run.state_name} and is not run again: {why}.\n\n"
        f"It said:\n\n{quoted}\n\nMend what it names, then press Retry on the run's page, or "
        "start the deployment again with the same study: what is finished is kept.\n",
    )
    get_run_logger().warning("%s: %s: %s", heading, why, cause.line)
    return {"action": "person", "why": why}


def _leave(why: str) -> dict[str, Any]:
    get_run_logger().info("Nothing to do about this run: %s", why)
    return {"action": "none", "why": why}


def _attempt(tags: Iterable[str]) -> int:
    number = _find_tag(tags, _ATTEMPT)
    return int(number) if number.isdigit() else 1


def _find_tag(tags: Iterable[str], beginning: str) -> str:
    return next((tag.removeprefix(beginning) for tag in tags if tag.startswith(beginning)), "")


def _plain(tags: Iterable[str]) -> list[str]:
    return [tag for tag in tags if not tag.startswith((_ATTEMPT, _FIRST))]
