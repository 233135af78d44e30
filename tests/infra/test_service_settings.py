"""Settings of the service: what is refused, who needs a password, what processes are told."""

import socket
import stat
import sys
from pathlib import Path

import pytest
import yaml

from infra.service.control import describe, prepare, running
from infra.service.environment import client_environment, server_environment, worker_environment
from infra.service.home import Home, Record
from infra.service.network import check_address
from infra.service.processes import MARK, Known
from infra.service.settings import REPOSITORY, ServiceSettings, load_settings
from somaflow.errors import SiteError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The folder of a service that was never started."""
    home = Home(tmp_path / "home")
    home.make()
    return home


def test_template_shows_the_defaults(home: Home) -> None:
    """What the shipped service.yaml says of a field is what the field is without it."""
    assert ServiceSettings() == load_settings(home.settings)
    shown = home.settings.read_text()
    assert [name for name in ServiceSettings.model_fields if f"{name}:" not in shown] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1\n", "prot: Extra inputs are not permitted"),
        ("port: 0\n", "port: Input should be greater than or equal to 1"),
        ("- a\n", "must be a YAML mapping"),
        ("port: [\n", "must be a YAML file"),
        ("database: sqlite:///x\n", "database: String should match pattern"),
        ("database: postgresql+asyncpg://h/d\npostgres: true\n", "not both"),
        ("keep_runs_days: 0\n", "keep_runs_days"),
    ],
)
def test_what_cannot_be_used_is_refused(home: Home, text: str, message: str) -> None:
    """One error that names the file, the field and what must hold."""
    home.settings.write_text(text)
    with pytest.raises(SiteError) as refused:
        load_settings(home.settings)
    assert message in str(refused.value)
    assert str(home.settings) in str(refused.value)


def test_options_come_before_the_file(home: Home) -> None:
    """--port wins over `port:`; what is not given leaves the file's value."""
    home.settings.write_text("port: 4300\nhost: 127.0.0.2\n")
    settings = load_settings(home.settings, host=None, port=4400)
    assert ("127.0.0.2", 4400) == (settings.host, settings.port)


@pytest.mark.parametrize(
    ("host", "asks"),
    [
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.0.2.7", True),
        ("lab.example.org", True),
    ],
)
def test_password_is_made_where_others_can_connect(home: Home, host: str, asks: bool) -> None:
    """On loopback only when asked for, on any other address always."""
    prepare(home, host, None, with_password=False)
    assert asks == (home.password() is not None)


def test_password_is_the_owners_alone_and_stays(home: Home) -> None:
    """Made once, of some length, in a file that nobody else can read; later starts keep it."""
    prepare(home, None, None, with_password=True)
    password = home.password()
    assert password is not None
    user, word = password.split(":")
    assert ("somaflow", True) == (user, len(word) >= 32)
    assert 0o600 == stat.S_IMODE(home.password_file.stat().st_mode)
    prepare(home, None, None, with_password=True)
    assert password == home.password()


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:4200"),
        ({"host": "::1"}, "http://[::1]:4200"),
        ({"host": "lab", "port": 80}, "http://lab:80"),
        ({"host": "0.0.0.0", "address": "lab.example.org"}, "http://lab.example.org:4200"),
        ({"host": "192.0.2.7", "address": "lab.example.org"}, "http://lab.example.org:4200"),
    ],
)
def test_nodes_are_told_a_name_that_they_reach(settings: dict[str, object], url: str) -> None:
    """Where other machines may connect, flow runs hear this one's name and never 127.0.0.1."""
    assert url == ServiceSettings.model_validate(settings).url


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "no-such-name.invalid"}, "name of this machine, got 'no-such-name.invalid'"),
        ({"host": "192.0.2.7"}, "name of this machine, got '192.0.2.7'"),
        (
            {"host": "0.0.0.0", "address": "no-such-name.invalid"},
            "'no-such-name.invalid' is none .*; set `address:`",
        ),
    ],
)
def test_address_that_is_none_is_refused(settings: dict[str, str], message: str) -> None:
    """Before anything is started: flow runs would wait for minutes for nobody."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SiteError, match=message):
        check_address(ServiceSettings.model_validate(settings | {"port": port}))


def test_every_address_gives_the_machine_its_name() -> None:
    """0.0.0.0 is where a server listens, not where anybody reaches it."""
    assert "0.0.0.0" not in ServiceSettings(host="0.0.0.0").url
    assert "127.0.0.1" not in ServiceSettings(host="0.0.0.0").url


def test_password_reaches_server_worker_and_runs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by its environment; another server's settings of the caller reach none of them."""
    monkeypatch.setenv("PREFECT_API_KEY", "of another server")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql://another")
    home.make_password()
    settings = ServiceSettings(studies=[Path("/a"), Path("/b")])
    client = client_environment(home, settings)
    server = server_environment(home, settings, None)
    assert home.password() == client["PREFECT_API_AUTH_STRING"]
    assert home.password() == server["PREFECT_API_AUTH_STRING"]
    assert home.password() == server["PREFECT_SERVER_API_AUTH_STRING"]
    assert "PREFECT_SERVER_API_AUTH_STRING" not in client
    assert "PREFECT_API_KEY" not in client
    assert str(home.database) in server["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert "/a:/b" == client["SOMAFLOW_STUDIES"]
    for environment in (client, server):
        assert "false" == environment["PREFECT_SERVER_ANALYTICS_ENABLED"]
        assert "1" == environment["DO_NOT_TRACK"]


def test_only_the_worker_and_its_runs_are_marked(home: Home) -> None:
    """The mark says what ends with the worker: server and database are not of it."""
    settings = ServiceSettings()
    assert str(home.folder) == worker_environment(home, settings)[MARK]
    assert MARK not in client_environment(home, settings)
    assert MARK not in server_environment(home, settings, None)


def test_record_of_a_machine_that_was_switched_off_is_stale(home: Home) -> None:
    """A service.json that is torn, or whose supervisor is gone, means: not running."""
    assert running(home) is None
    home.record_file.write_text("{torn")
    assert running(home) is None
    gone = Known(1, "of another boot:1")
    Record(gone, "http://127.0.0.1:4200", "ready", {"server": gone}, "0.1.0").write(home)
    assert home.record() is not None
    assert running(home) is None


def test_description_never_shows_the_password(home: Home) -> None:
    """What is printed says where it is."""
    home.make_password()
    record = Record(Known(1, ""), "http://127.0.0.1:4200", "ready", {}, "0.1.0")
    shown = describe(home, record)
    assert str(home.password_file) in shown
    assert str(home.password()).split(":")[1] not in shown
    assert f"{Path(sys.executable).with_name('prefect')} deployment run" in shown


def test_automations_name_deployments_that_there_are() -> None:
    """Every `flow/deployment` that an automation runs is in prefect.yaml."""
    automations = yaml.safe_load((REPOSITORY / "deployments" / "automations.yaml").read_text())
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    names = {f"{one['entrypoint'].rsplit('.', 1)[1]}/{one['name']}" for one in deployments}
    actions = [action for automation in automations for action in automation["actions"]]
    run = {action["deployment"] for action in actions if "deployment" in action}
    assert run == {"rerun/service"} <= names


def test_no_event_of_a_failure_is_handled_twice() -> None:
    """Events that start `rerun` are named by no other automation: see the file's head."""
    automations = yaml.safe_load((REPOSITORY / "deployments" / "automations.yaml").read_text())
    expected = {one["name"]: set(one["trigger"]["expect"]) for one in automations}
    rerun = expected.pop("rerun")
    assert {"Failed", "Crashed", "TimedOut"} == {name.rsplit(".")[-1] for name in rerun}
    assert [set()] * len(expected) == [rerun & events for events in expected.values()]


def test_unit_of_systemd_starts_what_there_is() -> None:
    """The template runs the service in the foreground, and lets it end its processes itself."""
    unit = (REPOSITORY / "infra" / "somaflow.service").read_text()
    assert "-m infra.service up --foreground" in unit
    assert "KillMode=mixed" in unit
    assert "UMask=0077" in unit
