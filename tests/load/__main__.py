"""`python -m tests.load --folder DIR`: what a server bears, with SQLite or (--postgres) PostgreSQL.

Fills a server with the runs of 50 studies, then lets shards end at 200 a minute, and measures how
soon the dashboard's pages are answered. Nothing is asserted about time; one JSON file.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil

from flows.server import temporary_server
from infra.postgres import Postgres, default_folder, started
from somaflow.files import write_text
from tests.bench.machine import describe_machine
from tests.conftest import REPOSITORY
from tests.load.asked import await_digested, describe_times, time_pages
from tests.load.dashboard import time_dashboard
from tests.load.runs import STAGES, TASKS_A_STAGE

_PACE_PER_MINUTE, _PACED_SHARDS = 200, 400
_TIMES = 10
_DIGEST_LIMIT_S = 1800.0
_DATABASE_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


def measure(folder: Path, n_studies: int, n_shards: int) -> dict[str, Any]:
    """Fills, waits, asks, and asks again under load; returns the figures."""
    n_tasks = n_studies * (len(STAGES) * TASKS_A_STAGE + n_shards)
    with temporary_server(folder / "prefect") as settings:
        url = settings["PREFECT_API_URL"]
        begun = time.monotonic()
        _run(settings, "--studies", n_studies, "--shards", n_shards)
        filled_s = time.monotonic() - begun
        behind_s = await_digested(url, n_tasks, _DIGEST_LIMIT_S)
        quiet = describe_times(time_pages(url, _TIMES))
        busy, paced_s = _measure_paced(settings, url)
        await_digested(url, n_tasks + _PACED_SHARDS, _DIGEST_LIMIT_S)
        shown = time_dashboard(url.removesuffix("/api"), _TIMES)
        return {
            "studies": n_studies,
            "task_runs": n_tasks,
            "task_runs_per_s": n_tasks / filled_s,
            "server_behind_s": behind_s,
            "pages_quiet": quiet,
            "pages_at_200_shards_a_minute": busy,
            "paced_s": paced_s,
            "dashboard_s": shown,
            "server_mb": _server_mb(url),
            "database_bytes": _measure_database(folder / "prefect"),
        }


def _run(settings: dict[str, str], *arguments: object) -> None:
    command = [sys.executable, "-m", "tests.load.runs", *map(str, arguments)]
    environment = {**os.environ, **settings, "PREFECT_LOGGING_LEVEL": "WARNING"}
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)


def _measure_paced(settings: dict[str, str], url: str) -> tuple[dict[str, dict[str, float]], float]:
    """Pages while shards end at a pace, and the seconds that the paced run took."""
    ended = threading.Event()
    begun = time.monotonic()

    def run() -> None:
        try:
            pace = ("--shards-per-minute", _PACE_PER_MINUTE, "--shards", _PACED_SHARDS)
            _run(settings, *pace)
        finally:
            ended.set()

    runner = threading.Thread(target=run)
    runner.start()
    taken: dict[str, list[float]] = {}
    while not ended.wait(1):
        for name, times in time_pages(url, 1).items():
            taken.setdefault(name, []).extend(times)
    runner.join()
    return describe_times(taken), time.monotonic() - begun


def _server_mb(url: str) -> float:
    port = int(url.removesuffix("/api").rsplit(":", 1)[1])
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "prefect" in " ".join(words) and str(port) in words:
            return process.memory_info().rss / 1e6
    raise RuntimeError(f"a server must listen on port {port}, no process of it was found")


def _measure_database(home: Path) -> int:
    """Bytes of the SQLite files, or of the database that the environment names."""
    url = os.environ.get(_DATABASE_URL, "")
    if not url.startswith("postgresql"):
        return sum(file.stat().st_size for file in home.glob("prefect.db*"))
    import asyncio

    import asyncpg

    async def ask() -> int:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return int(await connection.fetchval("select pg_database_size(current_database())"))
        finally:
            await connection.close()

    return asyncio.run(ask())


@contextmanager
def _postgres(folder: Path) -> Iterator[None]:
    """A PostgreSQL as the service would run it, which the server started in the block uses."""
    place = default_folder(folder)
    try:
        with started(Postgres.in_folder(place, secrets.token_urlsafe(12))) as cluster:
            os.environ[_DATABASE_URL] = cluster.url
            yield
    finally:
        os.environ.pop(_DATABASE_URL, None)
        shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    """Reads the command line, measures, writes and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="For the server; must be new.")
    parser.add_argument("--studies", type=int, default=50)
    parser.add_argument("--shards", type=int, default=231, help="Of a study.")
    parser.add_argument("--out", type=Path, default=Path("load.json"))
    parser.add_argument("--postgres", action="store_true", help="In a PostgreSQL; else SQLite.")
    options = parser.parse_args()
    folder = options.folder.absolute()
    with _postgres(folder) if options.postgres else nullcontext():
        figures = measure(folder, options.studies, options.shards)
    content = json.dumps({"machine": describe_machine(), **figures}, indent=2)
    write_text(options.out, content + "\n")
    print(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
