"""The service's folder: who may enter it, and where in it everything lies.

Enters: a path. Leaves: a folder of mode 0700 with settings, password, database and logs.
"""

import json
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.postgres import Postgres, default_folder
from infra.service.processes import Known
from infra.service.settings import ServiceSettings
from somaflow.files import make_folder, write_secret, write_text

_TEMPLATE = Path(__file__).with_name("service.yaml")


@dataclass(frozen=True)
class Home:
    """Paths in the service's folder; nothing else joins them.

    Attributes:
        folder: absolute.
    """

    folder: Path

    @property
    def settings(self) -> Path:
        """service.yaml, the service's own copy."""
        return self.folder / "service.yaml"

    @property
    def password_file(self) -> Path:
        """`user:password`, if the service asks for one."""
        return self.folder / "password"

    @property
    def record_file(self) -> Path:
        """service.json: what runs, since when."""
        return self.folder / "service.json"

    @property
    def lock(self) -> Path:
        """Locked by the supervisor as long as it lives."""
        return self.folder / "service.lock"

    @property
    def prefect(self) -> Path:
        """PREFECT_HOME: SQLite database, leases of concurrency limits."""
        return self.folder / "prefect"

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.prefect / "prefect.db"

    @property
    def leavings(self) -> list[Path]:
        """Where Prefect puts small files that it does not remove: results, events it gave up."""
        return [self.prefect / "storage", self.prefect / "dlq"]

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.folder / "logs"

    def log(self, name: str) -> Path:
        """Where a process of that name writes."""
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Makes the folder, for its owner alone, with settings to change."""
        for folder in (self.folder, self.prefect, self.logs):
            make_folder(folder).chmod(0o700)
        if not self.settings.exists():
            shutil.copyfile(_TEMPLATE, self.settings)
        self.settings.chmod(0o600)  # it may name a database with its password

    def password(self) -> str | None:
        """`user:password` that API and dashboard ask for; None if they ask for none."""
        if not self.password_file.exists():
            return None
        return self.password_file.read_text().strip() or None

    def make_password(self) -> None:
        """Makes a password, if there is none."""
        if self.password() is None:
            write_secret(self.password_file, f"somaflow:{secrets.token_urlsafe(24)}\n".encode())

    def postgres(self, settings: ServiceSettings) -> Postgres:
        """The service's own PostgreSQL, made if there is none, at a free port.

        Raises:
            SiteError: if it is not installed, or cannot be made.
        """
        secret = self.folder / "postgres-password"
        if not secret.exists():
            write_secret(secret, secrets.token_urlsafe(24).encode())
        return Postgres.in_folder(self.postgres_folder(settings), secret.read_text())

    def postgres_folder(self, settings: ServiceSettings) -> Path:
        """Where that PostgreSQL keeps its files."""
        return settings.postgres_folder or default_folder(self.folder)

    def record(self) -> "Record | None":
        """What service.json says; None if there is none that can be read."""
        try:
            return Record.from_json(json.loads(self.record_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class Record:
    """What runs.

    Attributes:
        supervisor: the process that started the others.
        url: of the dashboard.
        stage: what it is doing, in words; `ready` when all is up.
        children: the others, by name.
        version: of somaflow.
    """

    supervisor: Known
    url: str
    stage: str
    children: dict[str, Known]
    version: str

    @property
    def api(self) -> str:
        """Address of the API."""
        return f"{self.url}/api"

    def write(self, home: Home) -> None:
        """Writes service.json."""
        write_text(home.record_file, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Record":
        """The record as it was written."""
        children = {name: Known(**known) for name, known in content["children"].items()}
        return cls(
            supervisor=Known(**content["supervisor"]),
            url=content["url"],
            stage=content["stage"],
            children=children,
            version=content["version"],
        )
