"""A PostgreSQL of the service's own, from Debian's package `postgresql`.

Enters: a folder and a password. Leaves: a cluster in it with one database, that listens on loopback
alone and asks for the password. PostgreSQL refuses to run as root: then it runs as its own user.
"""

import hashlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.service.processes import run_as
from infra.specs import LOOPBACK
from somaflow.errors import SiteError
from somaflow.files import make_folder

_DEBIAN = Path("/usr/lib/postgresql")
# Of the package's user. Where the service is root's, nobody else may enter the service's folder.
_DEBIAN_DATA = Path("/var/lib/postgresql")
_USER = _DATABASE = "prefect"
_READY_LIMIT_S = 120.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Postgres:
    """One cluster.

    Attributes:
        folder: of its files, which are in `data` below it.
        password: of its one database user.
        port: where it listens.
        programs: folder of initdb, postgres, pg_dump ...
    """

    folder: Path
    password: str
    port: int
    programs: Path

    @classmethod
    def in_folder(cls, folder: Path, password: str) -> "Postgres":
        """The cluster in a folder, which is made if there is none, at a free port.

        Raises:
            SiteError: if the programs are not there, or another release's made the files.
        """
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        version = folder / "data" / "PG_VERSION"
        wanted = version.read_text().strip() if version.exists() else None
        cluster = cls(folder, password, port, find_programs(wanted))
        if wanted is None:
            cluster._make()
        return cluster

    @property
    def data(self) -> Path:
        """Of the cluster."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """For Prefect's server; it holds the password."""
        where = f"{LOOPBACK}:{self.port}/{_DATABASE}"
        return f"postgresql+asyncpg://{_USER}:{self.password}@{where}"

    @property
    def environment(self) -> dict[str, str]:
        """Of PostgreSQL's own clients."""
        return {
            **os.environ,
            "PGHOST": LOOPBACK,
            "PGPORT": str(self.port),
            "PGUSER": _USER,
            "PGPASSWORD": self.password,
            "PGDATABASE": _DATABASE,
        }

    @property
    def command(self) -> list[str]:
        """Runs it in the foreground."""
        settings = {
            "port": self.port,
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self.programs / "postgres"), "-D", str(self.data), *options]

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        asked = [str(self.programs / "pg_isready"), "--quiet"]
        return subprocess.run(asked, env=self.environment, check=False).returncode == 0

    def ask(self, *command: str) -> None:
        """Runs one of PostgreSQL's clients.

        Raises:
            SiteError: if it fails; the message quotes its last line.
        """
        _run([str(self.programs / command[0]), *command[1:]], self.environment)

    def _make(self) -> None:
        """Makes the cluster and its database."""
        user = system_user()
        make_folder(self.folder).chmod(0o700)
        secret = self.folder / "password-for-initdb"
        secret.unlink(missing_ok=True)
        secret.touch(0o600)
        secret.write_text(self.password)
        if user is not None:
            shutil.chown(self.folder, user)
            shutil.chown(secret, user)
        shutil.rmtree(self.data, ignore_errors=True)  # of an initdb that was killed
        asked = [str(self.programs / "initdb"), "-D", str(self.data), "--username", _USER]
        asked += ["--auth", "scram-sha-256", "--pwfile", str(secret), "--encoding", "UTF8"]
        # In this locale text sorts in the same way on every machine.
        _run([*asked, "--locale", "C.UTF-8"], os.environ, user, cwd=self.folder)
        secret.unlink()
        # A server for one command, without a port.
        alone = [str(self.programs / "postgres"), "--single", "-D", str(self.data), "postgres"]
        _run(alone, os.environ, user, f"CREATE DATABASE {_DATABASE};\n", cwd=self.folder)


def find_programs(version: str | None = None) -> Path:
    """Folder of PostgreSQL's programs, the newest; or those of one release (`15`).

    Raises:
        SiteError: if there are none.
    """
    folders = [path / "bin" for path in _DEBIAN.glob("*") if path.name.isdigit()]
    if (found := shutil.which("postgres")) is not None:
        folders.append(Path(found).resolve().parent)
    releases = {_release(folder): folder for folder in folders if (folder / "initdb").exists()}
    if version is not None and version in releases:
        return releases[version]
    if version is not None and releases:
        raise SiteError(
            f"PostgreSQL {version} must be installed, which made the database's files, found "
            f"{', '.join(sorted(releases))}; on Debian `apt install postgresql-{version}`"
        )
    if not releases:
        raise SiteError(
            "PostgreSQL must be installed, found no initdb; on Debian `apt install postgresql`, or "
            "set `postgres: false` in service.yaml"
        )
    return releases[max(releases, key=int)]


def system_user() -> str | None:
    """Who runs it: None = who runs this; where that is root, PostgreSQL's own user.

    Raises:
        SiteError: if this is root, and there is no such user.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        raise SiteError(
            "PostgreSQL must not run as root, and there is no user `postgres`; run the service as "
            "an ordinary user"
        ) from error


def default_folder(home: Path) -> Path:
    """Where the cluster of a service lies: in its folder, where PostgreSQL's user may enter it."""
    if os.geteuid() != 0:
        return home / "postgres"
    return _DEBIAN_DATA / f"somaflow-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"


@contextmanager
def started(cluster: Postgres) -> Iterator[Postgres]:
    """Runs a cluster that does not run, for as long as the block takes."""
    process = subprocess.Popen(
        cluster.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=cluster.folder,
        **run_as(system_user()),
    )
    try:
        deadline = time.monotonic() + _READY_LIMIT_S
        while not cluster.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SiteError(f"PostgreSQL must start in {cluster.folder}, it did not")
            time.sleep(_POLL_S)
        yield cluster
    finally:
        process.terminate()
        process.wait()


def _release(programs: Path) -> str:
    asked = [str(programs / "postgres"), "--version"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.", done.stdout)
    return found[1] if found else "0"


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    user: str | None = None,
    stdin: str = "",
    cwd: Path | None = None,
) -> None:
    done = subprocess.run(
        command,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        **run_as(user),
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise SiteError(f"{Path(command[0]).name} must succeed, it said: {last}")
