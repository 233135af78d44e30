"""Looks through a study for what is begun and not finished, cheaply.

Enters a study file. Leaves an `Unfinished` for each flow that has something to finish, in the order
of the data. Plans, records and pages are counted; results are not hashed and tiles not looked into,
which is what the flows themselves do. A study that was never begun has nothing unfinished, nor has
work of former settings, which nobody asks for any more.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from somaflow.donors.inputs import NOT_WHOLE
from somaflow.errors import SomaflowError, StudyError
from somaflow.inventory import find_prepared, labelled_tiles, read_tiles
from somaflow.paths import DONORS
from somaflow.preparation import is_prepared
from somaflow.stages import STAGES, read_stages, stages_of
from somaflow.study import Study, load_study
from somaflow.unfinished.experiments import current_page, find_cut_trainings, find_failed_runs
from somaflow.unfinished.finding import Unfinished, merge
from somaflow.unfinished.inference import (
    find_missing_shards,
    find_stale_quarantine,
    read_ledgers,
)

_PREPARE, _RECIPES, _BUDGET, _INFERENCE = "e0-prepare", "e1-recipes", "e2-label-budget", STAGES[-2]


def find_unfinished(
    study_path: Path, stale_days: float = 7.0, now: float | None = None
) -> list[Unfinished]:
    """What is to be finished, one for each flow, in the order of the data.

    Args:
        study_path: the study's YAML file.
        stale_days: after which tiles that were set aside are tried again.
        now: in unix seconds; None = the present.

    Raises:
        StudyError: if the study file cannot be read.
    """
    study = load_study(study_path)
    now = time.time() if now is None else now
    if not study.paths.study.exists():
        return []
    if not study.paths.tiles.exists():
        return [Unfinished(_PREPARE, "its tiles have not been found yet")]
    return merge(
        [
            *_told(_PREPARE, lambda: _look_at_preparation(study)),
            *_told(_RECIPES, lambda: _look_at_trainings(study)),
            *_told(_RECIPES, lambda: _look_at_pages(study)),
            *_told(_INFERENCE, lambda: _look_at_inference(study, stale_days, now)),
        ]
    )


def was_run_whole(study: Study) -> bool:
    """Whether the flow `study` was ever started on it."""
    return bool(read_stages(study.paths))


def _told(flow: str, look: Callable[[], Iterator[Unfinished]]) -> list[Unfinished]:
    """What a look finds; what keeps it from looking is for a person to mend."""
    try:
        return list(look())
    except SomaflowError as error:
        reason = f"it cannot be told what is unfinished: {error}"
        return [Unfinished(flow, reason, heals=False, since=math.inf)]


def _look_at_preparation(study: Study) -> Iterator[Unfinished]:
    # Where a whole folder of another key is there, labels or splits have changed since: that the
    # study is to follow them is for its user to say.
    folders = study.paths.prepared_folders()
    if _has_labelled(study) and not any(is_prepared(folder) for folder in folders):
        yield Unfinished(_PREPARE, "its labelled tiles are not split and prepared yet")


def _look_at_trainings(study: Study) -> Iterator[Unfinished]:
    if not _has_labelled(study):
        return
    try:
        prepared = find_prepared(study)
    except StudyError:
        return  # what is trained on them has no key yet
    yield from find_cut_trainings(study, prepared)


def _look_at_pages(study: Study) -> Iterator[Unfinished]:
    """Pages that list failures, and those that a run of the flow `study` was to make."""
    for flow in (_RECIPES, _BUDGET):
        yield from find_failed_runs(study, flow)
    wanted = set(read_stages(study.paths)) & set(stages_of(study, _has_labelled(study)))
    for flow in wanted - {_PREPARE, _INFERENCE, DONORS}:
        if current_page(study.paths, flow) is None:
            yield Unfinished(flow, "the study was to run it, its page is not made")


def _look_at_inference(study: Study, stale_days: float, now: float) -> Iterator[Unfinished]:
    ledgers = read_ledgers(study)
    for ledger in ledgers:
        yield from find_missing_shards(study, ledger)
        yield from find_stale_quarantine(study, ledger, stale_days, now)
    is_wanted = _INFERENCE in read_stages(study.paths)
    if is_wanted and not study.paths.inference_keys():
        yield Unfinished(_INFERENCE, "the study was to run it, nothing is segmented yet")
    is_whole = bool(ledgers) and not any(ledger.missing for ledger in ledgers)
    if reason := _lack_of_donors(study, is_whole):
        yield Unfinished(DONORS, reason)


def _lack_of_donors(study: Study, is_whole: bool) -> str:
    """Why donors are to be made (again), in words; empty if they need not be."""
    page = current_page(study.paths, DONORS)
    if page is not None and any(words in page.read_text("utf-8") for words in NOT_WHOLE):
        # Before all is segmented they would come out the same.
        return "donors were made before all tiles were segmented" if is_whole else ""
    if DONORS not in read_stages(study.paths):
        return ""
    if page is None:
        return "the study was to run it, its page is not made"
    has_report = any(study.paths.reports.glob("*/report.html"))
    return "" if has_report else "the study was to end with a report, there is none"


def _has_labelled(study: Study) -> bool:
    return not labelled_tiles(read_tiles(study.paths), study).empty
