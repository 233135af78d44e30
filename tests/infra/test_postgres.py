"""A real PostgreSQL of the service's own: made, used, killed, backed up, lost, restored."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import postgres
from infra.postgres import Postgres, default_folder, find_programs, started
from infra.service.settings import ServiceSettings
from somaflow.errors import SiteError
from tests.infra.services import Service, await_true, write_standins


def need_postgres() -> None:
    """Skips the test where PostgreSQL is not installed; in CI, which installs it, that fails."""
    try:
        find_programs()
    except SiteError as error:
        if os.environ.get("SOMAFLOW_TEST_POSTGRES") == "required":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter, where this is root."""
    need_postgres()
    folder = Path(tempfile.mkdtemp(prefix="somaflow-postgres-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_missing_programs_are_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PostgreSQL the message says what to install, or to change."""
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SiteError, match="apt install postgresql"):
        find_programs()


def test_files_of_another_release_are_refused(folder: Path) -> None:
    """Files of a release that is not installed are left alone, and the message names it."""
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(SiteError, match="apt install postgresql-9"):
        Postgres.in_folder(folder, "word")
    assert ["PG_VERSION"] == [path.name for path in (folder / "data").iterdir()]


def test_cluster_is_made_once_and_asks_for_its_password(folder: Path) -> None:
    """What was written is there when it starts again; who has not the password is refused."""
    cluster = Postgres.in_folder(folder / "cluster", "word")
    with started(cluster):
        cluster.ask("psql", "--command", "CREATE TABLE kept (a int)")
        with pytest.raises(SiteError, match="password authentication failed"):
            stranger = Postgres(cluster.folder, "guess", cluster.port, cluster.programs)
            stranger.ask("psql", "--command", "SELECT 1")
    assert not cluster.is_ready()
    again = Postgres.in_folder(folder / "cluster", "word")
    with started(again):
        again.ask("psql", "--command", "SELECT a FROM kept")


def test_cluster_of_an_initdb_that_was_killed_is_made_anew(folder: Path) -> None:
    """Half a cluster is not taken for one."""
    (folder / "cluster" / "data").mkdir(parents=True)
    (folder / "cluster" / "data" / "global").write_text("half")
    cluster = Postgres.in_folder(folder / "cluster", "word")
    with started(cluster):
        cluster.ask("psql", "--command", "SELECT 1")


def test_as_root_it_lies_where_its_user_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the service's folder, but for root: each of its services has another folder then."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tmp_path / "postgres" == default_folder(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folders = {default_folder(tmp_path / name) for name in ("a", "b")}
    assert {Path("/var/lib/postgresql")} == {folder.parent for folder in folders}
    assert 2 == len(folders)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
def test_service_on_postgres(tmp_path: Path, folder: Path) -> None:
    """Runs complete; killed -9 it comes back; backed up in use, lost and restored, runs are there.

    The service's processes do not show the database's password to anybody.
    """
    settings = write_standins(tmp_path) | {"postgres": True, "postgres_folder": str(folder / "pg")}
    with Service.in_folder(tmp_path / "home", **settings).ending() as service:
        service.up()
        run = service.start("sleeper/laptop", folder=str(tmp_path / "first"), seconds=1)
        service.await_state(run, "Completed")
        assert not service.home.database.exists()

        former = service.child("postgres")
        service.kill("postgres")
        service.await_another("postgres", former)
        await_true(lambda: counts(service), service.logs)
        second = service.start("sleeper/laptop", folder=str(tmp_path / "second"), seconds=1)
        service.await_state(second, "Completed")

        done = service.call("backup", str(tmp_path / "backup.tar.gz"))
        assert done.returncode == 0, done.stderr
        assert "the PostgreSQL database, settings" in done.stdout
        database = service.child("postgres")
        service.down()
        assert not database.is_alive
        refused = service.call("restore", str(tmp_path / "backup.tar.gz"))
        assert "there must be no database yet" in refused.stderr
        shutil.rmtree(folder / "pg")
        done = service.call("restore", str(tmp_path / "backup.tar.gz"))
        assert done.returncode == 0, done.stderr
        service.up()
        assert ["Completed", "Completed"] == [service.state_of(one) for one in (run, second)]
        third = service.start("sleeper/laptop", folder=str(tmp_path / "third"), seconds=1)
        service.await_state(third, "Completed")


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
def test_service_on_a_postgres_that_is_there_already(tmp_path: Path, folder: Path) -> None:
    """`database` names one of a lab: runs are kept there, and it goes on when the service ends.

    Its password is shown neither by the settings' file to others, nor by processes, nor in logs.
    """
    cluster = Postgres.in_folder(folder / "lab", "labs-own-word")
    with started(cluster):
        settings = write_standins(tmp_path) | {"database": cluster.url}
        with Service.in_folder(tmp_path / "home", **settings).ending() as service:
            service.up()
            record = service.home.record()
            assert record is not None
            assert {"server", "worker"} == set(record.children)
            run = service.start("sleeper/laptop", folder=str(tmp_path / "first"), seconds=1)
            service.await_state(run, "Completed")
            assert not service.home.database.exists()
            lines = [
                " ".join(psutil.Process(one.pid).cmdline())
                for one in (record.supervisor, *record.children.values())
            ]
            assert [] == [line for line in lines if cluster.password in line]
            assert cluster.password not in service.logs()
            assert "pg_dump" in service.call("backup", str(tmp_path / "backup.tar")).stderr
            service.down()
        assert cluster.is_ready()
        query = f"SELECT 1 / count(*) FROM flow_run WHERE id = '{run.id}'"
        cluster.ask("psql", "--command", query)  # fails where there is none


def counts(service: Service) -> bool:
    """Whether the server reaches its database."""
    with service.api() as client:
        return client.request("GET", "/ready").status_code == 200


def test_settings_know_where_the_cluster_is_to_lie(tmp_path: Path) -> None:
    """`postgres_folder` comes before the default."""
    service = Service.in_folder(tmp_path / "home")
    given = ServiceSettings(postgres=True, postgres_folder=tmp_path / "pg")
    assert tmp_path / "pg" == service.home.postgres_folder(given)
