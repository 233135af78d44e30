"""What the service's processes are told through their environment, passwords among it.

A command line can be read by everybody on a machine, an environment by its owner alone.
"""

import json
import os

from infra.service.home import Home
from infra.service.processes import MARK
from infra.service.settings import ServiceSettings

_DAY_S = 86_400
_HEARTBEAT = "prefect.flow-run.heartbeat"
# Of whoever started the service, and perhaps for another server.
_NOT_OURS = ("PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_API_KEY")


def client_environment(home: Home, settings: ServiceSettings) -> dict[str, str]:
    """Environment of what talks to the API: worker, flow runs, the service's own commands."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_OURS and not name.startswith(("PREFECT_API_", "PREFECT_SERVER_"))
    }
    environment |= {
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_API_URL": settings.api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "SOMAFLOW_SERVICE": str(home.folder),
    }
    if settings.studies:
        environment["SOMAFLOW_STUDIES"] = os.pathsep.join(map(str, settings.studies))
    if (password := home.password()) is not None:
        environment["PREFECT_API_AUTH_STRING"] = password
    return environment


def worker_environment(home: Home, settings: ServiceSettings) -> dict[str, str]:
    """Environment of the worker, by which it and what it starts are found again."""
    return {**client_environment(home, settings), MARK: str(home.folder)}


def server_environment(
    home: Home, settings: ServiceSettings, database: str | None
) -> dict[str, str]:
    """Environment of the server.

    Args:
        home: the service's folder.
        settings: of the service.
        database: URL of a PostgreSQL; None = SQLite in home.
    """
    environment = client_environment(home, settings) | _retention(settings)
    environment |= {
        "PREFECT_SERVER_API_HOST": settings.host,
        "PREFECT_SERVER_API_PORT": str(settings.port),
        # The dashboard asks the address it came from, whatever name that has for the browser.
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # Without these two any page in the user's browser could start flows at a loopback address.
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": settings.url,
        # In memory, a server that starts again would not know them, and end the runs that hold one.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        # A run that died while the server was down is noticed when it is back.
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": f"PT{_DAY_S}S",
    }
    if "PREFECT_API_AUTH_STRING" in environment:
        environment["PREFECT_SERVER_API_AUTH_STRING"] = environment["PREFECT_API_AUTH_STRING"]
    url = database or f"sqlite+aiosqlite:///{home.database}"
    environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url
    return environment


def _retention(settings: ServiceSettings) -> dict[str, str]:
    """What Prefect's own clean-up, once an hour, may delete."""
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(
            round(settings.keep_runs_days * _DAY_S)
        ),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{settings.keep_events_days * _DAY_S:.0f}S",
        # Two a minute of every run; they are of no use once the run has ended.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps(
            {_HEARTBEAT: _DAY_S}
        ),
    }
