"""Runs of E5 as a user would start them, while their server has trouble, and what is left of them.

The studies are small and need no net: the stand-in takes a threshold.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from somaflow.ledger import read_records
from somaflow.study import load_study
from tests.conftest import REPOSITORY

LIMIT_S = 400
N_SHARDS = 32


def use_stand_in(study: Path) -> None:
    """Makes the study one of `N_SHARDS` small shards, without a net."""
    text = study.read_text().replace("shard_tiles: 8", "shard_tiles: 1")
    text += "recipes: [{name: stand-in, model: threshold}]\ninference_recipe: stand-in\n"
    study.write_text(text)


@dataclass
class Begun:
    """A command that runs, and what it has printed."""

    process: "subprocess.Popen[str]"
    study: Path
    log: Path

    @property
    def printed(self) -> str:
        """All so far."""
        return self.log.read_text()

    def await_(self, is_so: Callable[[], bool]) -> None:
        """Waits until something is so, which must be before the command ends."""
        deadline = time.monotonic() + LIMIT_S
        while not is_so():
            assert self.process.poll() is None, self.printed[-3000:]
            assert time.monotonic() < deadline, self.printed[-3000:]
            time.sleep(0.05)

    def await_shards(self, number: int) -> None:
        """Waits until so many are committed."""
        self.await_(lambda: count_done(self.study) >= number)

    def end(self) -> int:
        """Waits for its end; its exit code."""
        return self.process.wait(timeout=LIMIT_S)

    @property
    def last_words(self) -> str:
        """What the command says to its user, in one line."""
        (words,) = [line for line in self.printed.splitlines() if line.startswith("somaflow: ")]
        return words


@contextmanager
def begun(flow: str, study: Path, environment: dict[str, str]) -> Iterator[Begun]:
    """A run that ends with the block at the latest."""
    log = study.with_name(f"{flow}-{time.monotonic_ns()}.log")
    command = [sys.executable, "-m", "somaflow", "run", flow, str(study)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Begun(process, study, log)
    finally:
        process.kill()
        process.wait()


def count_done(study: Path) -> int:
    """Shards in the ledger."""
    return len(list((load_study(study).output / "ledger").glob("*/shard-*.json")))


def tiles_done(study: Path) -> list[str]:
    """Tiles of all committed shards, as often as they are there."""
    paths = load_study(study).paths
    (key,) = paths.inference_keys()
    return [tile.tile_id for record in read_records(paths, key) for tile in record.tiles]


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program has the SQLite database for itself."""
    with closing(sqlite3.connect(database, timeout=LIMIT_S, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
