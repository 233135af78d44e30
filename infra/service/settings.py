"""Settings of the service, as its service.yaml may say them.

Refuses unknown fields and values out of range, all in one message.
"""

import ipaddress
import socket
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.specs import LOOPBACK
from somaflow.errors import SiteError

POOL = "somaflow"
"""Name of the one work pool."""
REPOSITORY = Path(__file__).resolve().parents[2]


class ServiceSettings(BaseModel):
    """What the service listens to, keeps and looks after."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: str = LOOPBACK
    """Address to listen at; 0.0.0.0 = all of this machine's."""
    port: int = Field(default=4200, ge=1, le=65535)
    """Port of API and dashboard."""
    address: str | None = None
    """Name by which other machines reach this one; empty: its host name."""
    deployments: Path = REPOSITORY / "prefect.yaml"
    """What is deployed; a copy of it with other limits or schedules may lie elsewhere."""
    automations: Path = REPOSITORY / "deployments" / "automations.yaml"
    """What happens by itself; likewise."""
    studies: list[Path] = []
    """Folders below which studies lie, for the flow `reconcile`."""
    database: str | None = Field(default=None, pattern=r"^postgresql\+asyncpg://")
    """URL of a PostgreSQL that is there already."""
    postgres: bool = False
    """Whether to run a PostgreSQL of the service's own; otherwise SQLite."""
    postgres_folder: Path | None = None
    """Where that PostgreSQL keeps its files; empty: in home."""
    keep_runs_days: float = Field(default=365, ge=1)
    """After so many days a finished run leaves the dashboard, with its logs and artifacts."""
    keep_events_days: float = Field(default=14, ge=1)
    """After so many days an event is forgotten."""

    @model_validator(mode="after")
    def _check_database(self) -> "ServiceSettings":
        if self.postgres and self.database is not None:
            raise ValueError("give `database` or `postgres: true`, not both")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """Address of the dashboard, as those who may connect reach it."""
        host = self.host
        if host in ("0.0.0.0", "::"):
            host = self.address or socket.gethostname()
        elif self.address and not self.is_loopback:
            host = self.address
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def api(self) -> str:
        """Address of the API."""
        return f"{self.url}/api"


def load_settings(path: Path, **changes: Any) -> ServiceSettings:
    """Reads a service.yaml; `changes` that are not None come before what it says.

    Raises:
        SiteError: one message with a line for every problem.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(content, dict):
            raise SiteError(f"settings must be a YAML mapping of fields, {path} is not")
        given = {name: value for name, value in changes.items() if value is not None}
        return ServiceSettings.model_validate({**content, **given})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SiteError(f"settings must be a YAML file, {path} is not: {error}") from error
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}"
            for item in error.errors()
        ]
        problems = "\n".join(lines)
        raise SiteError(f"{path}: {len(lines)} value(s) must be changed:\n{problems}") from error
