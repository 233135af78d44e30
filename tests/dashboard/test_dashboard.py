"""A study from the form to its end, in a real Chromium on the dashboard of a real service."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.filters import FlowRunFilter

from somaflow.claims import claim_study
from somaflow.status import describe_status
from tests.dashboard.screen import open_screen
from tests.dashboard.tour import N_SHARDS, NAME, SHARD_TILES, STATE, Tour, make_study
from tests.infra.services import Service, await_true

pytestmark = [pytest.mark.server, pytest.mark.long, pytest.mark.timeout(1800)]

SEGMENT, RECIPES = f"segment all of {NAME}", f"recipes of {NAME}"
N_BEFORE = 8


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    folder = tmp_path_factory.mktemp("dashboard")
    service = Service.in_folder(folder / "home")
    address = f"http://127.0.0.1:{service.port}"
    with open_screen(folder / "profile", address) as screen, service.ending():
        service.up()
        yield Tour(service, screen, make_study(folder))


@dataclass(frozen=True)
class Cancelled:
    """What was seen of a run until it was cancelled, and what it left."""

    run: UUID
    words: str
    tasks: str
    progress: tuple[int, int]
    processes: tuple[int, int]
    records: dict[str, tuple[int, int]]
    states: dict[str, str]
    status: str


@pytest.fixture(scope="module")
def cancelled(tour: Tour) -> Cancelled:
    """A run of the whole study that was cancelled while it segmented."""
    run = tour.start()
    part = tour.part(run, SEGMENT)
    with tour.holding([N_SHARDS - 1]):
        with tour.holding(range(N_SHARDS // 2, N_SHARDS - 1)):
            tour.await_shards(N_BEFORE)
            first = tour.progress(part.id)
        await_true(lambda: tour.progress(part.id) > first, tour.screen.text)
        progress = first, tour.progress(part.id)
        tour.open_run(run, "Subflow Runs")
        tour.screen.await_words(SEGMENT)
        words, n_processes = tour.screen.text(), len(tour.processes())
        tour.cancel(run)
    n_left = len(tour.processes())
    tour.open_run(part.id, "Task Runs")
    tasks = tour.screen.find(rf"document.body.innerText.match(/shard \d+ of {N_SHARDS}/)[0]")
    return Cancelled(
        *(run, words, tasks, progress, (n_processes, n_left), tour.records()),
        {name: str(part.state_name) for name, part in tour.parts(run).items()},
        describe_status(tour.study),
    )


@pytest.fixture(scope="module")
def finished(tour: Tour, cancelled: Cancelled) -> UUID:
    """The same run, gone on with until its end."""
    tour.retry(cancelled.run)
    with tour.service.api() as client:
        await_true(lambda: client.read_flow_run(cancelled.run).run_count == 2, tour.service.logs)
    tour.await_state(cancelled.run, "Completed", "Failed", "Crashed")
    return cancelled.run


def test_form_has_help_choices_and_limits(tour: Tour) -> None:
    """The form says what a field is for, between what its number lies, and offers the choices."""
    tour.open_form()
    assert "The study, or the path of its YAML file." == tour.screen.help_of("study")
    assert "laptop, slurm, or the path of a site file." in tour.screen.help_of("site")
    tour.screen.press("Study")
    shard = "Tiles that one task segments and commits together. (at least 1, at most 4,096)"
    assert shard == tour.screen.help_of("Shard Tiles")
    assert ["rosmap", "flat", "manifest"] == tour.screen.choices_of("Layout")
    assert ["auto", "cuda", "cpu"] == tour.screen.choices_of("Device")


def test_value_out_of_range_is_refused_in_the_form(tour: Tour) -> None:
    """The message names the field and its limit, and no run is there."""
    tour.open_form()
    tour.screen.press("Study")
    for label, text in {"Name": "s", "Root": "/t", "Output": "/o", "Shard Tiles": "0"}.items():
        tour.screen.fill(label, text)
    tour.screen.press("Submit")
    tour.screen.await_words("'study.shard_tiles'. Failure reason: 0 is less than the minimum of 1")
    with tour.service.api() as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags={"all_": ["somaflow"]}))
    assert [] == [run for run in runs if isinstance(run.parameters["study"], dict)]


def test_run_in_progress_says_what_it_does(cancelled: Cancelled) -> None:
    """Runs and tasks are called after the study and what they do; the progress goes on."""
    for name in (f"study {NAME}", f"prepare {NAME}", RECIPES, SEGMENT):
        assert name in cancelled.words
    assert "Running" in cancelled.words
    assert cancelled.tasks.endswith(f" of {N_SHARDS}")
    before, after = cancelled.progress
    assert before < after


def test_cancel_stops_every_process(cancelled: Cancelled) -> None:
    """When the page says Cancelled, flow and workers are gone, which were there before."""
    before, after = cancelled.processes
    assert before >= 3
    assert 0 == after


def test_cancelled_states_match_the_disk(cancelled: Cancelled) -> None:
    """What was under way is cancelled, what was done stays so; status counts the same shards."""
    names = {f"prepare {NAME}": "Completed", RECIPES: "Completed", SEGMENT: "Cancelled"}
    assert names == cancelled.states
    n_done = len(cancelled.records)
    assert n_done >= N_BEFORE
    assert f"{SHARD_TILES * n_done} of " in cancelled.status


def test_retry_goes_on_and_keeps_what_is_done(
    tour: Tour, cancelled: Cancelled, finished: UUID
) -> None:
    """The run is completed, the study too, and no record of a finished shard was written anew."""
    assert "Completed" == tour.screen.find(STATE)
    records = tour.records()
    assert len(records) > len(cancelled.records)
    assert cancelled.records == {name: records[name] for name in cancelled.records}
    assert f"{len(records)} of {len(records)} shards" in describe_status(tour.study)


def test_log_of_the_run_has_no_traceback(tour: Tour, finished: UUID) -> None:
    """A cancel and a retry are no errors, and do not look like any."""
    tour.open_run(finished, "Logs")
    tour.screen.await_words("Finished in state Completed")
    assert "Traceback" not in tour.screen.text()


def test_page_of_an_experiment_shows_table_and_pictures(tour: Tour, finished: UUID) -> None:
    """Every picture of it has been read, and fits."""
    tour.open_artifact(tour.part(finished, RECIPES).id, "e1-recipes")
    tour.screen.await_words("F1 pooled")
    seen = "[...document.images].filter(i => i.complete && i.naturalWidth > 100)"
    assert tour.screen.find(f"{seen}.length") >= 2
    assert tour.screen.find(f"{seen}.every(i => i.clientWidth <= innerWidth)") is True
    assert tour.screen.find("document.querySelectorAll('table tr').length") > 2


def test_table_of_scores_is_an_artifact(tour: Tour, finished: UUID) -> None:
    """The table of what was segmented has a row a recipe, with its counts."""
    tour.open_artifact(tour.part(finished, SEGMENT).id, "inference")
    tour.screen.await_words("by-brightness")
    assert "shards_done" in tour.screen.text()


def test_every_run_says_where_its_outputs_lie(tour: Tour, finished: UUID) -> None:
    """The run and its parts name the folders, which are there, so that they can be copied."""
    for run in (finished, tour.part(finished, SEGMENT).id):
        tour.open_artifact(run, "outputs")
        said = tour.screen.find("[...document.querySelectorAll('li code')].map(e => e.innerText)")
        places = [Path(path) for path in said if path.startswith("/")]
        assert list(tour.study.paths.places().values()) == places
    made = [place for place in places if place.exists()]
    assert {"reports", "experiments", "labels", "cells"} <= {place.name for place in made}


def test_run_that_waits_for_its_turn_can_be_cancelled(tour: Tour) -> None:
    """A second run of a study says for whom it waits; cancelled, it leaves no process behind."""
    before = tour.records()
    with claim_study(tour.study.paths, "last week"):
        run = tour.service.start("e5-inference/laptop", study=str(tour.file)).id
        tour.await_state(run, "Waiting")
        tour.open_run(run, "Logs")
        tour.screen.await_words("waits for run 'last week'")
        assert tour.processes()
        tour.cancel(run)
        assert [] == tour.processes()
    assert before == tour.records()
