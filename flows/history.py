"""Runs of studies as the Prefect server has them: at work, to come, and how others ended."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from somaflow.errors import SomaflowError
from somaflow.stages import STAGES
from somaflow.study import load_study

FLOWS = (*STAGES, "study")
RERUN = "rerun"
_ALIVE = [
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
]
_PAST_DAYS = 14
# A run that somebody has planned for later than that does not keep a study from being repaired.
_SOON_HOURS = 24
_PAGE = 200
_TOP = FlowRunFilterParentTaskRunId(is_null_=True)


class History:
    """The runs of all study flows that are alive, were cancelled, or are of the last two weeks.

    Runs within runs are left out: they end with the run they belong to.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        """Reads them once."""
        self._client = client
        now = datetime.now(UTC)
        kept = [*_ALIVE, StateType.CANCELLED]
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=kept))
        recent = FlowRunFilterExpectedStartTime(after_=now - timedelta(days=_PAST_DAYS))
        filters = (
            FlowRunFilter(state=state, parent_task_run_id=_TOP),
            FlowRunFilter(expected_start_time=recent, parent_task_run_id=_TOP),
        )
        runs = {run.id: run for one in filters for run in _read_all(client, one)}
        self._runs = sorted(runs.values(), key=_expected, reverse=True)
        wanted = FlowFilter(name=FlowFilterName(any_=list(FLOWS)))
        self._flow_of = {flow.id: flow.name for flow in client.read_flows(flow_filter=wanted)}
        self._places_of_file = cache(_places_of_file)
        self._soon = now + timedelta(hours=_SOON_HOURS)

    def of_study(self, path: Path, output: Path) -> list[FlowRun]:
        """Runs of a study, the newest first, whether they were given its file or its content."""
        own = {path, output}
        return [run for run in self._runs if own & self.places(run)]

    def latest(self, runs: Collection[FlowRun]) -> FlowRun | None:
        """The one of the runs that was the last to end."""
        return max((run for run in runs if not is_alive(run)), key=ended_at, default=None)

    def find_alive(self, runs: Collection[FlowRun]) -> FlowRun | None:
        """One of the runs that is at work, or that will be before long."""
        return next((run for run in runs if is_alive(run) and _expected(run) < self._soon), None)

    def abandoned(self, since: datetime, until: datetime) -> list[FlowRun]:
        """Runs of deployments that failed between the two, and were the last of their study.

        Those that `rerun` has looked at are left out: it did what is to be done about them.
        """
        looked_at = _looked_at_by_rerun(self._client, since)
        return [
            run
            for run in self._runs
            if run.state_type in (StateType.FAILED, StateType.CRASHED)
            and run.deployment_id is not None
            and since.timestamp() < ended_at(run) < until.timestamp()
            and str(run.id) not in looked_at
            and not self._has_later_one(run)
        ]

    def flow_of(self, run: FlowRun) -> str:
        """Name of the flow."""
        return self._flow_of[run.flow_id]

    def _has_later_one(self, run: FlowRun) -> bool:
        mine = self.places(run)
        return any(
            _expected(one) > _expected(run) and mine & self.places(one) for one in self._runs
        )

    def of_flows(self, runs: Collection[FlowRun], flows: Collection[str]) -> list[FlowRun]:
        """Those of the runs that have ended and are of one of the flows, in the same order."""
        return [
            run for run in runs if not is_alive(run) and self._flow_of.get(run.flow_id) in flows
        ]

    def places(self, run: FlowRun) -> set[Path]:
        """What a run's parameter says of its study: its file, its output folder, or both."""
        study = run.parameters.get("study")
        if isinstance(study, dict):
            return {Path(str(study["output"]))} if "output" in study else set()
        return self._places_of_file(study) if isinstance(study, str) else set()


def is_alive(run: FlowRun) -> bool:
    """Whether a run is at work or to come."""
    return run.state_type in _ALIVE


def ended_at(run: FlowRun) -> float:
    """When a run ended, in unix seconds; 0 if that is not known."""
    return run.end_time.timestamp() if run.end_time is not None else 0.0


def _looked_at_by_rerun(client: SyncPrefectClient, since: datetime) -> set[str]:
    recent = FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(after_=since))
    return {
        str(run.parameters.get("flow_run_id")) for run in _read_all(client, recent, names=[RERUN])
    }


def _read_all(
    client: SyncPrefectClient, which: FlowRunFilter, names: Collection[str] = FLOWS
) -> Iterator[FlowRun]:
    flows = FlowFilter(name=FlowFilterName(any_=list(names)))
    offset = 0
    while True:
        page = client.read_flow_runs(
            flow_filter=flows,
            flow_run_filter=which,
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_PAGE,
            offset=offset,
        )
        yield from page
        if len(page) < _PAGE:
            return
        offset += _PAGE


def _expected(run: FlowRun) -> datetime:
    return run.expected_start_time or datetime.min.replace(tzinfo=UTC)


def _places_of_file(path: str) -> set[Path]:
    places = {Path(path).resolve()}
    try:
        return places | {load_study(path).output}
    except SomaflowError:
        return places
