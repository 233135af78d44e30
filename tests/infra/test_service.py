"""`up`, `up` again, `status`, `down`: a whole service with flows that stand in for somaflow's."""

import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest

from infra.service.deploy import apply_automations, local_zone
from infra.service.processes import find_marked
from infra.service.settings import REPOSITORY
from tests.infra.services import Service, await_true, write_standins

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that other machines could reach, and so asks for a password."""
    folder = tmp_path_factory.mktemp("service")
    settings = {"host": "0.0.0.0", "address": "127.0.0.1"}
    service = Service.in_folder(folder / "home", **write_standins(folder), **settings)
    with service.ending():
        service.up()
        yield service
        service.down()


def test_up_says_where_the_dashboard_is_and_how_to_begin(service: Service) -> None:
    """`up` once more starts nothing; it prints address, password file, first run and logs again."""
    before = service.home.record()
    printed = service.up()
    assert f"Dashboard: http://127.0.0.1:{service.port}\n" in printed
    assert f"PREFECT_API_URL=http://127.0.0.1:{service.port}/api" in printed
    assert f'PREFECT_API_AUTH_STRING="$(cat {service.home.password_file})"' in printed
    assert "deployment run study/laptop --param study=/absolute/path/study.yaml" in printed
    assert str(service.home.logs) in printed
    assert before == service.home.record()


def test_second_service_in_the_same_folder_is_refused(service: Service) -> None:
    """Two that start at the same time cannot both have the folder."""
    done = service.call("up", "--foreground")
    assert done.returncode == 1
    assert "one service must run in" in done.stderr


def test_port_of_another_program_is_one_clear_error(service: Service, tmp_path: Path) -> None:
    """Another service at the same port is not started, and the message says what to do."""
    other = Service(Service.in_folder(tmp_path / "other").home, service.port)
    done = other.call("up")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {service.port} must be free at" in done.stderr
    assert "--port" in done.stderr


def test_status_lists_what_is_alive(service: Service) -> None:
    """`status` succeeds while everything runs, and names every process."""
    done = service.call("status")
    assert done.returncode == 0, done.stdout
    for name in ("server", "worker"):
        assert f"process {service.child(name).pid}" in done.stdout
    assert "API        answers" in done.stdout


def test_nobody_else_may_read_anything(service: Service) -> None:
    """The folder and all in it are the owner's alone."""
    paths = [service.home.folder, *service.home.folder.rglob("*")]
    assert any(path.name == "prefect.db" for path in paths)
    assert [] == [path for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_api_asks_for_the_password(service: Service) -> None:
    """Without it nothing is answered, with it everything is, and the dashboard knows to ask."""
    address = f"http://127.0.0.1:{service.port}"
    password = service.home.password()
    assert password is not None
    user, word = password.split(":")
    assert 401 == httpx.get(f"{address}/api/admin/settings").status_code
    assert 401 == httpx.get(f"{address}/api/admin/settings", auth=(user, "guess")).status_code
    assert 200 == httpx.get(f"{address}/api/admin/settings", auth=(user, word)).status_code
    assert "BASIC" == httpx.get(f"{address}/ui-settings").json()["auth"]


def test_password_is_on_no_command_line_and_in_no_log(service: Service) -> None:
    """What everybody on the machine can list, and what is written down, does not hold it."""
    password = service.home.password()
    assert password is not None
    word = password.split(":")[1]
    processes = psutil.process_iter(["cmdline"])
    listed = "\n".join(" ".join(process.info["cmdline"] or []) for process in processes)
    assert str(service.port) in listed
    assert word not in listed
    assert word not in "".join(log.read_text() for log in service.home.logs.iterdir())


def test_pages_of_others_cannot_use_the_api(service: Service) -> None:
    """A web page in the user's browser is refused what it sends to the loopback address."""
    password = service.home.password()
    assert password is not None
    user, word = password.split(":")
    url = f"http://127.0.0.1:{service.port}/api/flows/"
    sent = httpx.post(url, json={"name": "of-a-page"}, auth=(user, word))
    assert 403 == sent.status_code
    asked = httpx.get(url, auth=(user, word), headers={"Origin": "https://page.example.org"})
    assert "access-control-allow-origin" not in asked.headers


def test_nothing_is_told_to_others(service: Service) -> None:
    """Telemetry is off, and the dashboard is the one that asks nobody outside."""
    with service.api() as client:
        server = client.request("GET", "/admin/settings").json()["server"]
    assert server["analytics_enabled"] is False
    assert server["ui"]["show_promotional_content"] is False
    shown = httpx.get(f"http://127.0.0.1:{service.port}/ui-settings").json()
    assert ("v1", "/api") == (shown["default_ui"], shown["api_url"])


def test_what_is_old_is_deleted_as_settings_say(service: Service) -> None:
    """Runs stay a year, events two weeks, heartbeats a day; leases survive the server."""
    with service.api() as client:
        server = client.request("GET", "/admin/settings").json()["server"]
    vacuum = server["services"]["db_vacuum"]
    assert {"events", "flow_runs"} == set(vacuum["enabled"])
    assert "P1Y" == vacuum["retention_period"]
    assert {"prefect.flow-run.heartbeat": "P1D"} == vacuum["event_retention_overrides"]
    assert "P14D" == server["events"]["retention_period"]
    assert server["concurrency"]["lease_storage"].endswith("filesystem")


def test_nightly_schedule_is_in_the_time_of_this_machine(service: Service) -> None:
    """Runs wait for two o'clock at night, here and not in Greenwich."""

    def planned() -> list[datetime]:
        with service.api() as client:
            runs = client.read_flow_runs()
        return [run.expected_start_time for run in runs if run.auto_scheduled]

    await_true(lambda: bool(planned()), service.logs)
    local = [time.astimezone(ZoneInfo(local_zone())) for time in planned()]
    assert {(2, 0)} == {(time.hour, time.minute) for time in local}


def test_automations_are_applied_once(service: Service) -> None:
    """Applied again they are updated by name; one that a person switched off stays off."""
    path = REPOSITORY / "deployments" / "automations.yaml"
    with service.api() as client:
        (silence,) = client.read_automations_by_name("silence")
        client.pause_automation(silence.id)
        apply_automations(client, path)
        found = client.read_automations()
        client.resume_automation(silence.id)
    assert ["never-began", "rerun", "silence"] == sorted(one.name for one in found)
    assert [False] == [one.enabled for one in found if one.name == "silence"]
    assert {silence.id} == {one.id for one in found if one.name == "silence"}


@pytest.mark.long
def test_failed_run_is_given_to_rerun_once(service: Service) -> None:
    """A run that fails is looked at once; what the service itself runs is not."""
    run = service.start("fails/laptop")
    service.await_state(run, "Failed")
    service.await_rerun(run)
    again = service.start("rerun/service", flow_run_id="not an id")
    service.await_state(again, "Failed", "Crashed")
    assert 1 == service.reruns().count(str(run.id))
    assert str(again.id) not in service.reruns()


@pytest.mark.long
def test_killed_run_crashes_and_is_given_to_rerun(service: Service, tmp_path: Path) -> None:
    """Kill -9 of a run's process: Crashed at once; meanwhile the second run waits its turn."""
    run, pid = service.start_sleeper(tmp_path / "first")
    second = service.start("sleeper/laptop", folder=str(tmp_path / "second"), seconds=1)
    service.await_state(second, "AwaitingConcurrencySlot")
    os.kill(pid, 9)
    service.await_state(run, "Crashed")
    service.await_rerun(run)
    assert 1 == service.reruns().count(str(run.id))
    service.await_state(second, "Completed")


@pytest.mark.long
def test_down_leaves_nothing_behind(tmp_path: Path) -> None:
    """Of a service that ended no process is left, and down once more is harmless."""
    with Service.in_folder(tmp_path / "home", **write_standins(tmp_path)).ending() as service:
        service.up()
        pids = [service.child(name) for name in ("supervisor", "server", "worker")]
        _, sleeper = service.start_sleeper(tmp_path / "sleeper")
        assert sleeper in [known.pid for known in find_marked(service.home.folder)]
        service.down()
        assert not any(known.is_alive for known in pids)
        assert [] == find_marked(service.home.folder)
        assert service.home.record() is None
        done = service.call("down")
        said = f"No service runs in {service.home.folder}.\n"
        assert (0, said) == (done.returncode, done.stdout)
        assert 1 == service.call("status").returncode
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{service.port}/api/health")
