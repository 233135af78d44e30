"""What a backup holds, who may read it, and what a restore refuses to write over."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from infra.service.backup import back_up, restore
from infra.service.home import Home
from somaflow.errors import OutputError, SiteError
from tests.infra.services import Service, write_standins


def write_database(home: Home, runs: int) -> None:
    """A database with so many flow runs, open as a server has it."""
    with closing(sqlite3.connect(home.database)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE flow_run (name TEXT)")
        database.executemany("INSERT INTO flow_run VALUES (?)", [(f"r{n}",) for n in range(runs)])
        database.commit()


def count_runs(home: Home) -> int:
    """Flow runs in the database."""
    with closing(sqlite3.connect(home.database)) as database:
        return int(database.execute("SELECT count(*) FROM flow_run").fetchone()[0])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The folder of a service that had three runs and asks for a password."""
    home = Home(tmp_path / "home")
    home.make()
    home.make_password()
    home.settings.write_text("port: 4321\n")
    write_database(home, 3)
    return home


def test_backup_is_its_owners_alone_and_says_what_is_in_it(home: Home, tmp_path: Path) -> None:
    """One file, that nobody else can read, and nothing beside it."""
    said = back_up(home, tmp_path / "backup.tar.gz")
    assert f"{tmp_path / 'backup.tar.gz'}: 3 flow runs, settings and password" == said
    assert 0o600 == stat.S_IMODE((tmp_path / "backup.tar.gz").stat().st_mode)
    assert {"home", "backup.tar.gz"} == {path.name for path in tmp_path.iterdir()}


def test_restore_brings_database_settings_and_password(home: Home, tmp_path: Path) -> None:
    """In another folder, as on another machine, all is as it was."""
    back_up(home, tmp_path / "backup.tar.gz")
    other = Home(tmp_path / "other")
    restore(other, tmp_path / "backup.tar.gz")
    assert 3 == count_runs(other)
    assert home.password() == other.password()
    assert "port: 4321\n" == other.settings.read_text()
    paths = [other.folder, *other.folder.rglob("*")]
    assert [] == [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_restore_does_not_write_over_a_database(home: Home, tmp_path: Path) -> None:
    """It is refused; with --force what was there is kept beside."""
    back_up(home, tmp_path / "backup.tar.gz")
    with closing(sqlite3.connect(home.database)) as database:
        database.execute("INSERT INTO flow_run VALUES ('later')")
        database.commit()
    with pytest.raises(SiteError, match="there must be no database yet") as refused:
        restore(home, tmp_path / "backup.tar.gz")
    assert "--force" in str(refused.value)
    assert 4 == count_runs(home)
    said = restore(home, tmp_path / "backup.tar.gz", force=True)
    assert 3 == count_runs(home)
    (kept,) = tmp_path.glob("home.before-*")
    assert f"What was there is in {kept}." in said
    assert 4 == count_runs(Home(kept))


def test_what_is_no_backup_is_refused(home: Home, tmp_path: Path) -> None:
    """Nothing is touched for a file that `backup` did not write, or that is not there."""
    (tmp_path / "text").write_text("text")
    for name in ("text", "nothing"):
        with pytest.raises(SiteError, match="must be a file that `backup` wrote"):
            restore(home, tmp_path / name, force=True)
    assert 3 == count_runs(home)


def test_damaged_database_is_not_backed_up(home: Home, tmp_path: Path) -> None:
    """A backup that could not be used is none: the old one stays."""
    (tmp_path / "backup.tar.gz").write_text("the old one")
    write = home.database.read_bytes()
    home.database.write_bytes(write[:4096] + b"\xff" * 4096 + write[8192:])
    with pytest.raises(SiteError, match="the database must be sound"):
        back_up(home, tmp_path / "backup.tar.gz")
    assert "the old one" == (tmp_path / "backup.tar.gz").read_text()


def test_nothing_to_back_up_is_said(tmp_path: Path) -> None:
    """Without a database, or without a place for the file, the message says so."""
    home = Home(tmp_path / "home")
    home.make()
    with pytest.raises(SiteError, match="there must be a database"):
        back_up(home, tmp_path / "backup.tar.gz")
    home.settings.write_text("database: postgresql+asyncpg://user:secret@lab/prefect\n")
    with pytest.raises(SiteError, match="pg_dump") as refused:
        back_up(home, tmp_path / "backup.tar.gz")
    assert "secret" not in str(refused.value)


def test_place_that_is_none_is_said(home: Home, tmp_path: Path) -> None:
    """A folder that is a file cannot take a backup."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder must be"):
        back_up(home, tmp_path / "file" / "backup.tar.gz")


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
def test_lost_database_comes_back(tmp_path: Path) -> None:
    """Backed up while it runs, its database lost: restored, the dashboard has the old runs."""
    with Service.in_folder(tmp_path / "home", **write_standins(tmp_path)).ending() as service:
        service.up("--password")
        password = service.home.password()
        run = service.start("sleeper/laptop", folder=str(tmp_path / "out"), seconds=1)
        service.await_state(run, "Completed")
        backup = tmp_path / "backup.tar.gz"
        done = service.call("backup", str(backup))
        assert done.returncode == 0, done.stderr
        assert "flow runs, settings and password" in done.stdout
        refused = service.call("restore", str(backup))
        assert "must be down" in refused.stderr
        service.down()
        for path in service.home.folder.rglob("prefect.db*"):
            path.unlink()
        service.home.password_file.unlink()
        done = service.call("restore", str(backup))
        assert done.returncode == 0, done.stderr
        assert password == service.home.password()
        service.up()
        assert "Completed" == service.state_of(run)
        again = service.start("sleeper/laptop", folder=str(tmp_path / "out"), seconds=1)
        service.await_state(again, "Completed")
