"""The service's database, password and settings as one file, and back.

Enters: a service's folder, running or not. Leaves: a tar file that its owner alone may read; a
folder in which a service starts with everything that the dashboard showed. Results of studies are
not part of it: they lie in the studies' own folders.
"""

import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import somaflow
from infra.postgres import Postgres, started
from infra.service.home import Home
from infra.service.processes import start_of
from infra.service.settings import ServiceSettings, load_settings
from somaflow.errors import SiteError
from somaflow.files import output_errors, write_secret

_FORMAT = 1
_ABOUT, _SQLITE, _DUMP = "backup.json", "prefect.db", "prefect.dump"
_FILES = ("service.yaml", "password")
_RUNS = "SELECT count(*) FROM flow_run"


def back_up(home: Home, target: Path) -> str:
    """Writes a backup, also of a service that runs, and returns in words what is in it.

    Raises:
        SiteError: if there is no database, or it cannot be read.
        OutputError: if the file cannot be written.
    """
    settings = load_settings(home.settings) if home.settings.exists() else ServiceSettings()
    if settings.database is not None:
        raise SiteError(
            "a PostgreSQL that is not the service's own must be backed up where it runs, with "
            "pg_dump; password and settings are in " + str(home.folder)
        )
    target = target.expanduser().resolve()
    with output_errors(target), TemporaryDirectory(dir=target.parent) as folder:
        copy = Path(folder) / (_DUMP if settings.postgres else _SQLITE)
        if settings.postgres:
            with _cluster(home, settings) as cluster:
                cluster.ask("pg_dump", "--format=custom", f"--file={copy}")
            words = "the PostgreSQL database"
        else:
            words = _copy_sqlite(home.database, copy)
        whole = Path(folder) / "backup.tar"
        _pack(home, copy, whole)
        whole.replace(target)
    return f"{target}: {words}, settings" + (" and password" if home.password() else "")


def restore(home: Home, source: Path, force: bool = False) -> str:
    """Puts a backup in place, and returns in words what was done.

    What was there is kept beside, with the time in its name.

    Raises:
        SiteError: if the service runs, the file is no backup, or there is a database already and
            `force` is not given.
    """
    record = home.record()
    if record is not None and record.supervisor.is_alive:
        raise SiteError("the service must be down to restore a backup; `make serve-stop`")
    about = _read_about(source)
    settings = load_settings(home.settings) if home.settings.exists() else ServiceSettings()
    cluster = home.postgres_folder(settings)
    there = [path for path in (home.database, cluster / "data") if path.exists()]
    if there and not force:
        raise SiteError(
            f"there must be no database yet, found {there[0]}; --force puts the backup in its "
            "place and keeps what is there beside it"
        )
    # As root, the cluster lies outside of the service's folder.
    folders = [home.folder] if cluster.is_relative_to(home.folder) else [cluster, home.folder]
    kept = _set_aside(folder for folder in folders if folder.exists())
    home.make()
    with tarfile.open(source) as archive:
        _unpack(archive, home, about["database"])
    words = f"The backup of {about['made']} (somaflow {about['somaflow']}) is in {home.folder}."
    return words + "".join(f"\nWhat was there is in {path}." for path in kept)


def _copy_sqlite(database: Path, copy: Path) -> str:
    if not database.exists():
        raise SiteError(f"there must be a database, found none at {database}")
    source, target = sqlite3.connect(database, timeout=60), sqlite3.connect(copy)
    with closing(source), closing(target):
        try:
            source.backup(target)  # one snapshot, while others write
            (answer,) = target.execute("PRAGMA quick_check").fetchone()
            (runs,) = target.execute(_RUNS).fetchone()
        except sqlite3.DatabaseError as error:
            answer = str(error)
    if answer != "ok":
        raise SiteError(f"the database must be sound, {database} is not: {answer}")
    return f"{runs} flow runs"


@contextmanager
def _cluster(home: Home, settings: ServiceSettings) -> Iterator[Postgres]:
    """The service's PostgreSQL: as it runs, or started for the time of the block."""
    cluster = home.postgres(settings)
    lock = cluster.data / "postmaster.pid"
    if lock.exists():
        lines = lock.read_text().splitlines()
        running = Postgres(cluster.folder, cluster.password, int(lines[3]), cluster.programs)
        if start_of(int(lines[0])) is not None and running.is_ready():
            yield running
            return
    with started(cluster):
        yield cluster


def _pack(home: Home, copy: Path, whole: Path) -> None:
    """Writes the tar file: what it is, the database, settings and password."""
    about = {
        "format": _FORMAT,
        "somaflow": somaflow.__version__,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "database": copy.name,
    }
    content = json.dumps(about, indent=2).encode()
    description = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(description, "wb") as handle:
        with tarfile.open(fileobj=handle, mode="w:gz") as archive:
            header = tarfile.TarInfo(_ABOUT)
            header.size, header.mode = len(content), 0o600
            archive.addfile(header, io.BytesIO(content))
            archive.add(copy, copy.name)
            for path in (home.folder / name for name in _FILES):
                if path.exists():
                    archive.add(path, path.name)
        handle.flush()
        os.fsync(handle.fileno())


def _read_about(source: Path) -> dict[str, Any]:
    try:
        with tarfile.open(source) as archive:
            about = json.load(_member(archive, _ABOUT))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise SiteError(f"a backup must be a file that `backup` wrote, {source} is not") from error
    if about["format"] != _FORMAT:
        raise SiteError(
            f"a backup must have format {_FORMAT}, {source} has {about['format']}, of somaflow "
            f"{about['somaflow']}; restore it with that one"
        )
    return dict(about)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        found = archive.extractfile(name)
    except KeyError:
        found = None
    if found is None:
        raise SiteError(f"a backup must hold {name}, {archive.name!s} does not")
    return found


def _unpack(archive: tarfile.TarFile, home: Home, database: str) -> None:
    """Writes what the backup holds, by the names that are known, to where it belongs."""
    for name in _FILES:
        if name in archive.getnames():
            write_secret(home.folder / name, _member(archive, name).read())
    if database == _SQLITE:
        _copy(archive, _SQLITE, home.database)
        return
    cluster = home.postgres(load_settings(home.settings))
    with TemporaryDirectory(dir=home.folder) as folder, started(cluster):
        dump = Path(folder) / _DUMP
        _copy(archive, _DUMP, dump)
        cluster.ask("pg_restore", "--no-owner", "--exit-on-error", "--dbname=prefect", str(dump))


def _copy(archive: tarfile.TarFile, name: str, path: Path) -> None:
    with output_errors(path), path.open("xb") as target:
        path.chmod(0o600)
        shutil.copyfileobj(_member(archive, name), target)
        target.flush()
        os.fsync(target.fileno())


def _set_aside(paths: Iterable[Path]) -> list[Path]:
    """Renames folders, and returns their new names."""
    stamp = f"before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    return [path.rename(path.with_name(f"{path.name}.{stamp}")) for path in paths]
