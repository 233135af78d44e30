"""What dies comes back, and what it was doing is done again: real processes, real kills."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed

from infra.service.processes import Known, find_marked, know
from tests.infra.services import Service, await_true, write_standins

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that runs; without heartbeats for 45 seconds, a run is dead for it."""
    folder = tmp_path_factory.mktemp("deaths")
    service = Service.in_folder(folder / "home", **write_standins(folder, silence_s=45))
    with service.ending():
        service.up()
        yield service
        service.down()


def test_silent_run_crashes_and_is_given_to_rerun(service: Service, tmp_path: Path) -> None:
    """A run that stands still, with its worker well, is Crashed by the heartbeats it misses."""
    run, pid = service.start_sleeper(tmp_path / "silent")
    await_heartbeat(service, run)
    sleeper = known(pid)
    sleeper.send(signal.SIGSTOP)
    service.await_state(run, "Crashed")
    service.await_rerun(run)
    assert 1 == service.reruns().count(str(run.id))
    sleeper.send(signal.SIGKILL)


def test_server_that_dies_comes_back(service: Service, tmp_path: Path) -> None:
    """Killed -9, it is started again; a run under way goes on, holds its slot, and ends well."""
    run, _ = service.start_sleeper(tmp_path / "well", seconds=100)
    forget = add_finished(service, days_ago=400)
    keep = add_finished(service, days_ago=300)
    former = service.child("server")
    service.kill("server")
    service.await_another("server", former)
    await_true(lambda: answers(service), service.logs)
    waits = service.start("sleeper/laptop", folder=str(tmp_path / "next"), seconds=1)
    service.await_state(waits, "AwaitingConcurrencySlot")
    assert "Running" == service.state_of(run)
    service.await_state(run, "Completed")
    service.await_state(waits, "Completed")
    assert "server died (exit code -9)" in service.home.log("service").read_text()
    # What is past its time is deleted when a server starts, and once an hour.
    await_true(lambda: not exists(service, forget), service.logs)
    assert exists(service, keep)


def test_worker_that_dies_comes_back(service: Service, tmp_path: Path) -> None:
    """Its run ends with it, is said to have been cut off, and is given to rerun, once."""
    run, pid = service.start_sleeper(tmp_path / "cut")
    sleeper, former = known(pid), service.child("worker")
    service.kill("worker")
    service.await_state(run, "CutOff")
    service.await_another("worker", former)
    assert not sleeper.is_alive
    service.await_rerun(run)
    again = service.start("sleeper/laptop", folder=str(tmp_path / "again"), seconds=1)
    service.await_state(again, "Completed")
    assert 1 == service.reruns().count(str(run.id))


def test_machine_that_was_switched_off(service: Service, tmp_path: Path) -> None:
    """Everything killed at once: `up` starts anew, and what was running is given to rerun, once."""
    run, pid = service.start_sleeper(tmp_path / "off")
    cancelled = service.start("sleeper/laptop", folder=str(tmp_path / "later"), seconds=1)
    names = ("supervisor", "server", "worker")
    former = [*(service.child(name) for name in names), known(pid)]
    for process in former:
        process.send(signal.SIGKILL)
    await_true(lambda: not any(process.is_alive for process in former))
    assert 1 == service.call("status").returncode
    assert service.home.record() is not None
    service.up()
    assert former[0] != service.child("supervisor")
    assert "CutOff" == service.state_of(run)
    service.await_rerun(run)
    service.await_state(cancelled, "Completed")
    assert 1 == service.reruns().count(str(run.id))


def test_supervisor_that_dies_takes_its_processes_along(service: Service, tmp_path: Path) -> None:
    """Server and worker end with it; a run that is left goes when the service starts again."""
    _, pid = service.start_sleeper(tmp_path / "left")
    left, children = known(pid), [service.child(name) for name in ("server", "worker")]
    service.kill("supervisor")
    await_true(lambda: not any(process.is_alive for process in children))
    assert pid in [process.pid for process in find_marked(service.home.folder)]
    service.up()
    assert not left.is_alive


def known(pid: int) -> Known:
    """A process that is there."""
    found = know(pid)
    assert found is not None
    return found


def answers(service: Service) -> bool:
    """Whether the API answers."""
    with service.api() as client:
        return client.api_healthcheck() is None


def exists(service: Service, run: FlowRun) -> bool:
    """Whether the server still has a run."""
    with service.api() as client:
        found = client.read_flow_runs()
    return run.id in [one.id for one in found]


def await_heartbeat(service: Service, run: FlowRun) -> None:
    """Waits until the server has heard from a run."""
    events = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
    }

    def is_heard() -> bool:
        with service.api() as client:
            found = client.request("POST", "/events/filter", json={"filter": events})
        return bool(found.json()["events"])

    await_true(is_heard, service.logs)


def add_finished(service: Service, days_ago: int) -> FlowRun:
    """A run that ended so many days ago: the server lets nobody say so, its database does."""
    from tests.infra.standins import fail

    with service.api() as client:
        run = client.create_flow_run(fail)
        client.set_flow_run_state(run.id, Completed(), force=True)
    ended = datetime.now(UTC) - timedelta(days=days_ago)
    with closing(sqlite3.connect(service.home.database, timeout=60)) as database:
        values = (f"{ended:%Y-%m-%d %H:%M:%S.%f}", run.name)
        database.execute("UPDATE flow_run SET end_time = ? WHERE name = ?", values)
        database.commit()
    return run
