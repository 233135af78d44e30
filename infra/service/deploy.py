"""Makes a running server serve somaflow: `python -m infra.service.deploy PREFECT_YAML AUTOMATIONS`.

Enters: the API that the environment names. Leaves, there: the work pool, every deployment of
prefect.yaml, the automations of deployments/automations.yaml, and no run that claims to be under
way although no worker is there. Doing it twice changes nothing.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from infra.service.settings import POOL, REPOSITORY
from infra.service.settle import settle_runs
from somaflow.errors import SiteError
from somaflow.files import write_text


def deploy(deployments: Path, automations: Path) -> None:
    """Deploys everything to the configured server.

    Args:
        deployments: a prefect.yaml.
        automations: an automations.yaml.

    Raises:
        SiteError: if `prefect deploy` fails, or an automation names an unknown deployment.
    """
    with get_client(sync_client=True) as client:
        make_pool(client)
        deploy_flows(deployments, Path(os.environ["PREFECT_HOME"]) / "prefect.yaml")
        apply_automations(client, automations)
        settle_runs(client)


def make_pool(client: SyncPrefectClient) -> None:
    """Makes the work pool, if it is not there: it may have been paused or limited since."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        pool = WorkPoolCreate(
            name=POOL,
            type="process",
            base_job_template=template,
            description="Flow runs as processes of this machine; jobs of SLURM are theirs.",
        )
        client.create_work_pool(pool)


def deploy_flows(deployments: Path, resolved: Path) -> None:
    """`prefect deploy --all`, with schedules in this machine's time zone where they name none.

    Args:
        deployments: a prefect.yaml.
        resolved: where a copy with time zones goes.
    """
    content = yaml.safe_load(deployments.read_text(encoding="utf-8"))
    for deployment in content["deployments"]:
        for schedule in deployment.get("schedules", []):
            schedule.setdefault("timezone", local_zone())
    write_text(resolved, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run([*command, "--prefect-file", str(resolved)], cwd=REPOSITORY, check=False)
    if done.returncode:
        raise SiteError(f"prefect deploy must succeed, it ended with {done.returncode}; see above")


def local_zone() -> str:
    """Name of this machine's time zone; UTC where it cannot be told."""
    link = Path("/etc/localtime")
    named = os.environ.get("TZ", "").lstrip(":") or str(link.resolve()).partition("zoneinfo/")[2]
    try:
        return ZoneInfo(named).key
    except (ZoneInfoNotFoundError, ValueError, IsADirectoryError):
        return "UTC"


def apply_automations(client: SyncPrefectClient, path: Path) -> None:
    """Creates or updates each automation of the file by its name."""
    for content in yaml.safe_load(path.read_text(encoding="utf-8")):
        wanted = AutomationCore.model_validate(_resolve(client, content))
        there = client.read_automations_by_name(wanted.name)
        if not there:
            client.create_automation(wanted)
            continue
        first, *doubles = sorted(there, key=lambda automation: str(automation.id))
        kept = wanted.model_copy(update={"enabled": first.enabled})
        client.update_automation(first.id, kept)
        for double in doubles:
            client.delete_automation(double.id)


def _resolve(client: SyncPrefectClient, content: dict[str, Any]) -> dict[str, Any]:
    """The automation with the ids of the deployments that it names."""
    actions = []
    for action in content["actions"]:
        action = dict(action)
        if (name := action.pop("deployment", None)) is not None:
            action |= {"source": "selected", "deployment_id": _find_deployment(client, name)}
        actions.append(action)
    return {**content, "actions": actions}


def _find_deployment(client: SyncPrefectClient, name: str) -> UUID:
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound as error:
        raise SiteError(f"deployment must be one of prefect.yaml, got {name!r}") from error


if __name__ == "__main__":
    try:
        deploy(*map(Path, sys.argv[1:]))
    except SiteError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
