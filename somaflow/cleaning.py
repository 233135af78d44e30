"""What lies in a study's outputs that nothing asks for any more, and its removal.

Enters: a study. Leaves: logs, results of tasks, reports and inferences that are old, with their
sizes. Tables, figures, trainings, and whatever the study as it is now is made from, are not among
them.
"""

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from somaflow.claims import refuse_if_busy
from somaflow.errors import SomaflowError
from somaflow.files import output_errors
from somaflow.paths import RunPaths
from somaflow.pending import find_current_keys
from somaflow.study import Study

_DAY_S = 86_400


@dataclass(frozen=True)
class Old:
    """Something that may go.

    Attributes:
        what: in words.
        places: files and folders, in the order in which they are to be removed.
        n_bytes: what they take on the disk.
    """

    what: str
    places: tuple[Path, ...]
    n_bytes: int


def find_old(study: Study, days: float, now: float | None = None) -> tuple[list[Old], str]:
    """What nothing was written to for so many days; why inferences could not be judged, or "".

    Args:
        study: any.
        days: 0 or more.
        now: in unix seconds; None = the present.
    """
    before = (time.time() if now is None else now) - days * _DAY_S
    paths = study.paths
    reports = sorted(paths.reports.glob("*"))[:-1]
    old = [
        *_group("logs of jobs", paths.logs.rglob("*"), before),
        *_group("results of tasks, for Prefect's cache", paths.task_results.glob("*"), before),
        *(_old(f"report of {path.name}", [path]) for path in reports if _newest(path) < before),
    ]
    if not paths.inference_keys():
        return old, ""
    try:
        current = find_current_keys(study)
    except SomaflowError as error:
        return old, f"inferences stay, it cannot be told which of them is the current one: {error}"
    return [*old, *_old_inferences(paths, current, before)], ""


def remove(study: Study, old: Iterable[Old]) -> None:
    """Removes what `find_old` found.

    Raises:
        BusyError: if a run is at work on the study; nothing is removed then.
        OutputError: if something cannot be removed.
    """
    refuse_if_busy(study.paths)
    for one in old:
        for place in one.places:
            with output_errors(place):
                shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


def _old_inferences(paths: RunPaths, current: set[str], before: float) -> Iterator[Old]:
    for key in paths.inference_keys():
        ledger = paths.ledger(key)
        if key in current or _newest(ledger) >= before:
            continue
        run = json.loads(paths.run_record(key).read_text())
        # The ledger goes first: cut short, no record is left that has no labels.
        places = [ledger, paths.cells_folder(key), paths.labels(key)]
        yield _old(f"inference {key} by recipe {run.get('recipe_name', '?')}", places)


def _group(what: str, found: Iterable[Path], before: float) -> list[Old]:
    """One item for all files among those found that are old; none if there are none."""
    files = sorted(path for path in found if path.is_file() and path.stat().st_mtime < before)
    return [_old(f"{len(files)} {what}", files)] if files else []


def _old(what: str, places: Iterable[Path]) -> Old:
    there = tuple(place for place in places if place.exists())
    return Old(what, there, sum(map(_size, there)))


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]


def _newest(place: Path) -> float:
    """When something below it was last written, in unix seconds."""
    return max((path.stat().st_mtime for path in _files(place)), default=0.0)


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in _files(place))
