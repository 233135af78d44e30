"""Finds studies with unfinished work by looking at the disk, and starts the flow that finishes it.

It starts deployments and does no work itself. What is at work, waits to begin, or failed for a
cause that only a person can mend is left alone, and told.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from flows.endings import end_all_parts
from flows.history import History, ended_at, is_alive
from infra.service.handover import give_to_rerun
from somaflow.claims import find_holder
from somaflow.errors import StudyError
from somaflow.failures import read_cause
from somaflow.study import Study, load_study
from somaflow.unfinished import (
    Unfinished,
    find_studies,
    find_unfinished,
    inputs_changed,
    was_run_whole,
)
from tasks.privacy import discreet, keep_private
from tasks.reporting import show_table

TAG = "reconcile"
_ROOTS = "SOMAFLOW_STUDIES"
_NIGHTS_IN_VAIN = 3
_FAILED = (StateType.FAILED, StateType.CRASHED)
_UNHEARD_DAYS = 2
# Prefect holds an event back for up to 15 minutes; until then the automation may still see to it.
_HELD_BACK_MINUTES = 30


@dataclass(frozen=True)
class Row:
    """One line of the table: what is unfinished, and what became of it."""

    study: str
    flow: str
    unfinished: str
    done: str


@flow(name="reconcile", flow_run_name="repair what is unfinished")
@discreet
def reconcile(
    roots: list[Path] | None = None, site: str = "laptop", stale_days: float = 7
) -> dict[str, Any]:
    """Looks through all studies on disk and starts what finishes those that are begun.

    Args:
        roots: Folders under which studies lie; empty: those that SOMAFLOW_STUDIES names.
        site: Where flows run that are started.
        stale_days: After how many days tiles that were set aside are tried again.
    """
    rows: list[Row] = []
    studies = find_studies(_check_roots(roots))
    with get_client(sync_client=True) as client:
        if n_ended := end_all_parts(client):
            get_run_logger().info("%d parts of ended runs were not known to have ended", n_ended)
        history = History(client)
        for path in studies:
            try:
                rows += _Repair(path, client, history, site).run(stale_days)
            except Exception as error:  # noqa: BLE001 - told, and the other studies go on
                rows.append(Row(str(path), "", "", f"not looked at: {error}"))
        rows += _hand_over(client, history, {Path(row.study) for row in rows})
    for row in rows:
        get_run_logger().info("%s: %s: %s (%s)", row.study, row.flow, row.done, row.unfinished)
    n_unfinished = len({row.study for row in rows})
    heading = f"{len(studies)} studies, {n_unfinished} with something unfinished"
    columns = list(Row.__dataclass_fields__)
    show_table("reconcile", pd.DataFrame(rows, columns=columns), heading)
    started = [f"{row.flow} of {row.study}" for row in rows if row.done.startswith("started")]
    return {"studies": len(studies), "unfinished": n_unfinished, "started": started}


def _check_roots(roots: Iterable[Path] | None) -> list[Path]:
    """Where to look.

    Raises:
        StudyError: if that is not said, or one is not there.
    """
    named = os.environ.get(_ROOTS, "").split(os.pathsep)
    chosen = [Path(root) for root in roots or named if str(root)]
    if not chosen:
        raise StudyError(
            f"reconcile must know under which folders studies lie, found none; set {_ROOTS} to "
            f"them, separated by {os.pathsep!r}, or give `roots`"
        )
    absent = [str(root) for root in chosen if not root.exists()]
    if absent:
        raise StudyError(
            f"folders of studies must be there, found none at {', '.join(absent)}; mount or make "
            f"them, or correct {_ROOTS} or `roots`"
        )
    return chosen


def _hand_over(client: SyncPrefectClient, history: History, told: set[Path]) -> list[Row]:
    """Gives `rerun` the failures that it never heard of; a server that dies loses the last events.

    Studies that are told of already are left out.
    """
    now = datetime.now(UTC)
    since, until = now - timedelta(days=_UNHEARD_DAYS), now - timedelta(minutes=_HELD_BACK_MINUTES)
    rows = []
    for run in history.abandoned(since, until):
        if told & history.places(run):
            continue
        given = give_to_rerun(client, run, "unheard")
        if given is None:
            return []  # deployed without it
        study = run.parameters.get("study")
        where = str(study.get("output")) if isinstance(study, dict) else str(study)
        state = str(run.state_name).lower()
        words = f"given to rerun (run {given.id})"
        rows.append(Row(where, history.flow_of(run), f"run {run.name!r} {state}, unheard", words))
    return rows


class _Repair:
    """What is to be done about one study."""

    def __init__(self, path: Path, client: SyncPrefectClient, history: History, site: str) -> None:
        self._path, self._client, self._history, self._site = path, client, history, site

    def run(self, stale_days: float) -> list[Row]:
        """Starts at most one run of the study; a row for each flow that has something to do."""
        study = load_study(self._path)
        if not study.paths.study.exists():
            return []  # never begun: nothing is written beside it, not even codes of donors
        keep_private(study)
        found = find_unfinished(self._path, stale_days)
        if not found:
            return []
        runs = self._history.of_study(self._path, study.output)
        if at_work := self._find_at_work(study, runs):
            return [self._row(one, at_work) for one in found]
        obstacles = {one.flow: self._find_obstacle(one, study, runs) for one in found}
        possible = [one for one in found if not obstacles[one.flow]]
        chosen = self._choose(possible, study)
        if chosen is None:
            return [self._row(one, f"not started: {obstacles[one.flow]}") for one in found]
        obstacle = self._find_obstacle(chosen, study, runs)
        words = f"not started: {obstacle}" if obstacle else self._start(chosen, runs)
        rows = []
        for one in found:
            is_covered = one.flow == chosen.flow or (chosen.flow == "study" and one in possible)
            waits = obstacles[one.flow] or f"{chosen.flow} comes first"
            rows.append(self._row(one, words if is_covered else f"not started: {waits}"))
        return rows

    def _find_at_work(self, study: Study, runs: Sequence[FlowRun]) -> str:
        """Which run of the study is at work or to come, in words; empty if none is."""
        if (holder := find_holder(study.paths)) is not None:
            return f"{holder} is at work on it"
        if (run := self._history.find_alive(runs)) is not None:
            state = run.state_name or "not ended"
            return f"run {run.name!r} is {state.lower()}, from {run.expected_start_time:%F %R} UTC"
        return ""

    def _find_obstacle(self, one: Unfinished, study: Study, runs: Sequence[FlowRun]) -> str:
        """Why starting the flow again would be in vain, in words; empty if it may help.

        Whatever failed before, a study file or input that was changed since may have mended it.
        """
        changed = inputs_changed(self._path, study)
        if not one.heals and changed <= one.since:
            return "it needs a person, the cause does not heal by itself"
        past = self._history.of_flows(runs, {one.flow, "study"})
        if past and past[0].state_type in _FAILED and changed <= ended_at(past[0]):
            cause = read_cause(past[0].state.message if past[0].state else None)
            if not cause.heals:
                return f"it needs a person, run {past[0].name!r} failed with: {cause.line}"
        if past and past[0].state_type == StateType.CANCELLED and changed <= ended_at(past[0]):
            return f"run {past[0].name!r} was cancelled; who did that starts it again"
        mine = self._digest(one)
        same = [run for run in past if (run.idempotency_key or "").startswith(mine)]
        if same and same[0].state_type == StateType.COMPLETED:
            return f"run {same[0].name!r} was started for just this, ended well and left it so"
        in_vain = [run for run in same[:_NIGHTS_IN_VAIN] if changed <= ended_at(run)]
        if len(in_vain) == _NIGHTS_IN_VAIN:
            return f"it needs a person, {_NIGHTS_IN_VAIN} runs in a row got no further with it"
        return ""

    def _choose(self, possible: Sequence[Unfinished], study: Study) -> Unfinished | None:
        """The first in the order of the data; all of them, where `study` has run them before."""
        if len(possible) > 1 and was_run_whole(study):
            reason = "; ".join(one.reason for one in possible)
            return Unfinished("study", reason, evidence="; ".join(o.evidence for o in possible))
        return next(iter(possible), None)

    def _start(self, one: Unfinished, runs: Sequence[FlowRun]) -> str:
        """Starts the deployment; a second `reconcile` at the same time starts the same run."""
        name = f"{one.flow}/{self._site}"
        try:
            deployment = self._client.read_deployment_by_name(name)
        except ObjectNotFound:
            return f"not started: there is no deployment {name}; deploy it (`prefect deploy --all`)"
        latest = self._history.latest(runs)
        run = self._client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"study": str(self._path), **one.parameters},
            idempotency_key=f"{self._digest(one)}-{latest.id if latest else 'first'}",
            tags=[TAG],
        )
        if not is_alive(run):
            return f"not started: run {run.name!r} was started for just this, and has ended"
        return f"started {name} (run {run.id})"

    def _digest(self, one: Unfinished) -> str:
        """Names the study, the flow and what is unfinished; the same until something changes."""
        content = (str(self._path), one.flow, sorted(one.parameters.items()), one.evidence)
        return f"{TAG}-{hashlib.sha256(repr(content).encode()).hexdigest()[:20]}"

    def _row(self, one: Unfinished, done: str) -> Row:
        return Row(str(self._path), one.flow, one.reason, done)
