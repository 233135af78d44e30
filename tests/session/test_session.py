"""docs/session.md is true: its blocks, typed in order, do and show what it says.

One session, a test a chapter: each goes on where the one before it ended.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from infra.service.home import Home
from infra.service.processes import find_marked
from tests.conftest import REPOSITORY
from tests.infra.services import Service, await_true, find_free_port
from tests.session.document import find_absent, read_blocks
from tests.session.terminal import Terminal
from tests.soak.watch import count_stuck

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]

DOCUMENT = REPOSITORY / "docs" / "session.md"
_PORT = "4200"
_LIMIT_S = 420.0


class Session:
    """A person at a terminal with the document beside it, and the service started there."""

    def __init__(self, folder: Path) -> None:
        """Opens the terminal; time is shortened as the document's last chapter says."""
        self.terminal = Terminal(folder, PREFECT_WORKER_QUERY_SECONDS="2")
        self._blocks = read_blocks(DOCUMENT)
        self._shown: list[str] = []
        home = Home(self.terminal.clone / "service")
        self.service = Service(home, find_free_port())
        home.make()
        copy = folder / "prefect.yaml"
        copy.write_text(json.dumps(shorten(self.terminal.clone / "prefect.yaml")))
        home.settings.write_text(f"port: {self.service.port}\ndeployments: {copy}\n")

    def type(self, beginning: str) -> None:
        """Types the document's next block, which begins so; what it says must be printed."""
        block = self._blocks.pop(0)
        assert block.typed.startswith(beginning), f"the document goes on with\n{block.typed}"
        printed = self.terminal.run(block.typed.replace(_PORT, str(self.service.port)))
        self._shown = block.shown
        self._compare(block.printed, printed)

    def read(self, artifact: str) -> None:
        """Waits for an artifact of that key; the newest must be as the document shows it."""
        found: list[Artifact] = []

        def is_there() -> bool:
            found[:] = self._find(artifact)
            return bool(found)

        await_true(is_there, self.service.logs)
        newest, is_table = str(found[0].data), found[0].type == "table"
        self._compare(self._shown, as_lines(newest) if is_table else newest)

    def runs(self, flow: str) -> list[FlowRun]:
        """Runs of a flow, the first one first, without those that a schedule has planned."""
        which = FlowFilter(name=FlowFilterName(any_=[flow]))
        with self.service.api() as client:
            found = client.read_flow_runs(
                flow_filter=which, sort=FlowRunSort.EXPECTED_START_TIME_ASC
            )
        return [run for run in found if not (run.auto_scheduled and run.state_name == "Scheduled")]

    def await_runs(self, flow: str, *states: str) -> list[FlowRun]:
        """Waits until runs of the flow have just these states, the first one first."""

        def now() -> list[str]:
            return [str(run.state_name) for run in self.runs(flow)]

        await_true(lambda: list(states) == now(), lambda: f"{now()}{self.service.logs()}", _LIMIT_S)
        return self.runs(flow)

    def await_looked_after(self, run: FlowRun) -> None:
        """Waits until `rerun` has decided about a run."""

        def is_done() -> bool:
            runs = [one for one in self.runs("rerun") if one.state_name == "Completed"]
            return str(run.id) in [str(one.parameters["flow_run_id"]) for one in runs]

        await_true(is_done, self.service.logs)

    def set_night(self, is_night: bool) -> None:
        """Switches the schedule of `reconcile` on or off."""
        with self.service.api() as client:
            deployment = client.read_deployment_by_name("reconcile/service")
            (schedule,) = deployment.schedules
            client.update_deployment_schedule(deployment.id, schedule.id, active=is_night)

    @property
    def is_through(self) -> bool:
        """Whether every block of the document was typed."""
        return not self._blocks

    def output(self, study: str) -> Path:
        """A study's outputs, as the terminal sees them."""
        return self.terminal.seen(self.terminal.home / "studies" / study / "output")

    def _find(self, artifact: str) -> list[Artifact]:
        key = ArtifactFilter(key=ArtifactFilterKey(any_=[artifact]))
        with self.service.api() as client:
            return client.read_artifacts(artifact_filter=key, sort=ArtifactSort.CREATED_DESC)

    def _compare(self, wanted: list[str], there: str) -> None:
        there = there.replace(str(self.service.port), _PORT)
        absent = find_absent(wanted, there)
        assert absent is None, f"the document promises\n{absent}\nbut there is\n{there}"


def shorten(prefect_yaml: Path) -> dict[str, Any]:
    """Deployments with waits of seconds, and a night that comes every minute once it is on."""
    content = yaml.safe_load(prefect_yaml.read_text())
    for deployment in content["deployments"]:
        if deployment["entrypoint"] == "flows.rerun.rerun":
            deployment["parameters"] = {"waits_minutes": [0.05]}
        for schedule in deployment.get("schedules", []):
            schedule |= {"cron": "* * * * *", "active": False}
    return dict(content)


def as_lines(table: str) -> str:
    """A table artifact with at least one row, as Markdown."""
    rows = json.loads(table)
    return "\n".join(
        f"| {' | '.join(map(str, row))} |" for row in [[*rows[0]], *map(dict.values, rows)]
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The one session."""
    session = Session(tmp_path_factory.mktemp("session"))
    try:
        with session.service.ending():
            yield session
    finally:
        session.terminal.close()


def test_one_command_brings_up_the_service(session: Session) -> None:
    """`make serve` in a clone with one line of settings: it says where the dashboard is."""
    session.type("mkdir -p -m 700 service")
    session.type(". .venv/bin/activate")
    assert session.service.call("status").returncode == 0


def test_first_study_is_finished_and_on_the_dashboard(session: Session) -> None:
    """One command runs it to its end; every stage is a run, its pages are artifacts."""
    session.type("somaflow init ~/studies/first")
    stages = ("study", "e0-prepare", "e1-recipes", "e5-inference", "e5-donors")
    assert [["Completed"]] * 5 == [[run.state_name for run in session.runs(one)] for one in stages]
    with session.service.api() as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
    assert {"e1-recipes", "e5-donors", "splits", "inference", "report"} <= keys
    assert {"tiles-scored", "tiles-segmented"} <= keys
    session.type("somaflow status ~/studies/first")


def test_killed_run_is_started_again_until_a_person_is_needed(session: Session) -> None:
    """Killed, it crashes and is started again; on a full disk it fails; then the page is there."""
    session.type("somaflow init ~/studies/night")
    await_true((session.output("night") / "at-work.json").exists, session.service.logs)
    session.type("kill -9")
    _, crashed, failed = session.await_runs("study", "Completed", "Crashed", "Failed")
    assert {"attempt-2", f"first-run-{crashed.id}"} <= set(failed.tags)
    assert crashed.parameters == failed.parameters
    session.await_looked_after(failed)
    session.type("prefect flow-run ls")
    session.read("needs-a-person")
    assert 0 < len(records(session)) < 6
    session.type("somaflow status ~/studies/night")


def test_night_finishes_just_what_is_unfinished(session: Session) -> None:
    """Once there is room, the schedule starts the study again; shards of before are kept."""
    before = {path: path.stat().st_mtime_ns for path in records(session)}
    session.type("rm ~/studies/night/output/films")
    session.set_night(True)
    session.read("reconcile")
    session.set_night(False)
    session.await_runs("study", "Completed", "Crashed", "Failed", "Completed")
    after = {path: path.stat().st_mtime_ns for path in records(session)}
    assert 6 == len(after)
    assert before == {path: after[path] for path in before}
    session.type("prefect flow-run ls")


def test_what_does_not_heal_is_for_a_person_at_once(session: Session) -> None:
    """A broken label file: no second attempt, a page with the cause; mended, it runs."""
    session.type("labels=")
    failed = session.runs("e0-prepare")[-1]
    assert "Failed" == failed.state_name
    session.await_looked_after(failed)
    session.read("needs-a-person")
    session.type("mv ~/kept.npy")
    assert ["Failed", "Completed"] == [run.state_name for run in session.runs("e0-prepare")[-2:]]


def test_end_leaves_no_run_and_no_process(session: Session) -> None:
    """No run, stage or task claims to be under way; `make serve-stop` ends every process."""
    await_true(lambda: not count_stuck(session.service), lambda: str(count_stuck(session.service)))
    session.type("make serve-stop")
    assert session.is_through
    assert [] == find_marked(session.service.home.folder)
    assert session.service.call("status").returncode == 1


def records(session: Session) -> list[Path]:
    """Commit records of the night's study."""
    return sorted(session.output("night").glob("ledger/*/shard-*.json"))
