"""What a person tells the service: up, down, status.

Enters: the service's folder and settings. Leaves: messages that say where the dashboard is, what is
alive, and what to do.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from infra.service.home import Home, Record
from infra.service.network import answers, check_address
from infra.service.processes import await_end, end
from infra.service.settings import REPOSITORY, ServiceSettings, load_settings
from infra.service.supervisor import READY, RUNS_LIMIT_S, Supervisor, end_leftovers, last_words
from somaflow.errors import SiteError

_UP_LIMIT_S = 900.0
# Runs, server and database, one after the other.
_DOWN_LIMIT_S = RUNS_LIMIT_S * 2 + 120
_POLL_S = 0.5


def running(home: Home) -> Record | None:
    """What runs in this home; None if its supervisor is gone, however that went."""
    record = home.record()
    return record if record is not None and record.supervisor.is_alive else None


def prepare(home: Home, host: str | None, port: int | None, with_password: bool) -> ServiceSettings:
    """Makes the folder, reads its settings, and makes a password where one is needed.

    Raises:
        SiteError: if a setting cannot be used.
    """
    home.make()
    settings = load_settings(home.settings, host=host, port=port)
    if with_password or not settings.is_loopback:
        home.make_password()
    return settings


def up(home: Home, settings: ServiceSettings) -> None:
    """Starts the service beside this process, waits until it is ready, and says how to use it.

    Raises:
        SiteError: if it does not come up; the message quotes the log.
    """
    record = running(home)
    if record is None:
        check_address(settings)
        record = _start(home, settings)
    elif record.url != settings.url:
        print(f"It runs already, at {record.url}; end it first to change that.")
    record = _await_ready(home, record)
    print(describe(home, record))


def _start(home: Home, settings: ServiceSettings) -> Record:
    log = home.log("service")
    command = [sys.executable, "-m", "infra.service", "up", "--foreground"]
    command += ["--home", str(home.folder), "--host", settings.host, "--port", str(settings.port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while (record := running(home)) is None:
        if process.poll() is not None:
            raise SiteError(f"the service must start, it ended; {last_words(log)}")
        time.sleep(_POLL_S)
    return record


def _await_ready(home: Home, record: Record) -> Record:
    deadline, stage = time.monotonic() + _UP_LIMIT_S, ""
    while record.stage != READY:
        if record.stage != stage:
            stage = record.stage
            print(f"The service {stage} ...", flush=True)
        time.sleep(_POLL_S)
        now = running(home)
        if now is None or time.monotonic() > deadline:
            raise SiteError(
                f"the service must come up, it did not; {last_words(home.log('service'))}"
            )
        record = now
    return record


def describe(home: Home, record: Record) -> str:
    """How to use a service that is ready."""
    prefect = Path(sys.executable).with_name("prefect")
    lines = [
        f"Dashboard: {record.url}",
        "A first run, in a terminal:",
        f"  export PREFECT_API_URL={record.api}",
    ]
    if home.password() is not None:
        lines.insert(1, f"It asks for what is in {home.password_file}")
        lines.append(f'  export PREFECT_API_AUTH_STRING="$(cat {home.password_file})"')
    lines += [
        f"  {prefect} deployment run study/laptop --param study=/absolute/path/study.yaml",
        f"Logs: {home.logs}",
        "End it: make serve-stop",
    ]
    return "\n".join(lines)


def down(home: Home) -> None:
    """Ends worker, flow runs, server and database, in that order; nothing is left behind."""
    record = running(home)
    if record is None:
        end_leftovers(home)
        home.record_file.unlink(missing_ok=True)
        print(f"No service runs in {home.folder}.")
        return
    print("Ends; runs under way are saved and can be started again ...", flush=True)
    end([record.supervisor], _DOWN_LIMIT_S)
    await_end([record.supervisor], _DOWN_LIMIT_S)
    end_leftovers(home)
    home.record_file.unlink(missing_ok=True)
    print("The service has ended.")


def status(home: Home) -> bool:
    """Prints what is alive, and returns whether all of it is."""
    record = running(home)
    if record is None:
        print(f"No service runs in {home.folder}.")
        return False
    alive = {name: known.is_alive for name, known in record.children.items()}
    answering = answers(record.api)
    print(f"{record.url}, somaflow {record.version}, {record.stage}")
    for name, known in record.children.items():
        print(f"  {name:<10} {f'process {known.pid}' if alive[name] else 'dead; starts again'}")
    print(f"  {'API':<10} {'answers' if answering else 'does not answer'}")
    print(f"  {'logs':<10} {home.logs}")
    return record.stage == READY and answering and all(alive.values()) and "worker" in alive


def serve(home: Home, settings: ServiceSettings) -> None:
    """Runs the service in this process, until it is told to end.

    Raises:
        SiteError: if it cannot start.
    """
    os.umask(0o077)
    Supervisor(home, settings).run()
