"""Shards without a record, and tiles that were set aside and have waited long enough."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from somaflow.errors import StoreError
from somaflow.ledger import ShardRecord, read_record, read_run
from somaflow.paths import RunPaths
from somaflow.schema import PLAN
from somaflow.stamps import read_table
from somaflow.study import Study
from somaflow.unfinished.finding import Unfinished

FLOW = "e5-inference"
_DAY_S = 86_400


@dataclass(frozen=True)
class Ledger:
    """The records of one inference, as far as a glance shows."""

    recipe: str
    key: str
    records: dict[int, ShardRecord | None]
    """By number of the shard; None where it is not committed, or its files are gone."""

    @property
    def missing(self) -> list[int]:
        """Shards to be done."""
        return [shard for shard, record in self.records.items() if record is None]


def read_ledgers(study: Study) -> list[Ledger]:
    """The inference of each of the study's recipes that has been planned, by its newest plan."""
    paths = study.paths
    newest: dict[str, str] = {}
    for key in sorted(paths.inference_keys(), key=lambda key: paths.plan(key).stat().st_mtime):
        newest[str(read_run(paths, key).get("recipe_name"))] = key
    wanted = {name: newest[name] for name in study.inference_recipes if name in newest}
    return [_read_ledger(paths, name, key) for name, key in wanted.items()]


def find_missing_shards(study: Study, ledger: Ledger) -> Iterator[Unfinished]:
    """Shards that are planned and not committed."""
    if ledger.missing:
        n_shards = len(ledger.records)
        yield Unfinished(
            FLOW,
            f"{len(ledger.missing)} of {n_shards} shards of {ledger.recipe} are not committed",
            evidence=f"{ledger.key} lacks {_digest(ledger.missing)}, {_last_commit(study, ledger)}",
        )


def find_stale_quarantine(
    study: Study, ledger: Ledger, stale_days: float, now: float
) -> Iterator[Unfinished]:
    """Tiles that were set aside, and last tried longer ago than they have to wait.

    They wait `stale_days`, and at least as long as they had been tried when they last failed: a
    tile that fails for ever is tried again ever more rarely. Trying again writes the record anew.
    """
    planned = study.paths.plan(ledger.key).stat().st_mtime
    n_tiles, oldest = 0, now
    for shard, record in ledger.records.items():
        if record is None or not record.quarantined:
            continue
        tried = study.paths.record(ledger.key, shard).stat().st_mtime
        if now - tried > max(stale_days * _DAY_S, tried - planned):
            n_tiles += len(record.quarantined)
            oldest = min(oldest, tried)
    if n_tiles:
        days = int((now - oldest) / _DAY_S)
        yield Unfinished(
            FLOW,
            f"{n_tiles} tile(s) of {ledger.recipe} were set aside {days} days ago and not tried "
            "again since",
            {"retry_quarantined": True},
            evidence=f"{ledger.key} has {n_tiles} set aside since {oldest:.0f}",
        )


def _read_ledger(paths: RunPaths, recipe: str, key: str) -> Ledger:
    plan = read_table(PLAN, paths.plan(key), columns=["shard"])
    shards = sorted(int(shard) for shard in plan["shard"].unique())
    return Ledger(recipe, key, {shard: _glance(paths, key, shard) for shard in shards})


def _glance(paths: RunPaths, key: str, shard: int) -> ShardRecord | None:
    """The record if its files are there; whether they are whole is for the flow to check."""
    try:
        record = read_record(paths.record(key, shard))
    except StoreError:
        return None
    if record is None or not paths.cells(key, shard).exists():
        return None
    return record if paths.label_shard(key, record.array, record.index).exists() else None


def _digest(shards: list[int]) -> str:
    return hashlib.sha256(repr(shards).encode()).hexdigest()[:12]


def _last_commit(study: Study, ledger: Ledger) -> str:
    """Changes with every shard that is committed, also when a former state comes back."""
    times = [
        study.paths.record(ledger.key, shard).stat().st_mtime_ns
        for shard, record in ledger.records.items()
        if record is not None
    ]
    return f"last commit {max(times, default=0)}"
