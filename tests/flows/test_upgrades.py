"""Versions of files as the flows leave them, and a former release's study as they find it."""

import importlib.metadata
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import somaflow as package
from somaflow.schema import KINDS, STATE, WITHOUT_VERSION, find_kind, make_stamp
from somaflow.stamps import read_stamp
from tests.flows.conftest import Finished, Run
from tests.upgrades.files import RELEASES, made_with, unpack

# What makes up results; pages and figures are drawn again by who shows them.
RESULTS = ("labels", "cells", "ledger", "checkpoints", "prepared", "evaluations", "sweeps")


def is_excused(place: Path) -> bool:
    """Whether the file needs no version, for a reason."""
    return any(fnmatch(place.as_posix(), pattern) for pattern in WITHOUT_VERSION)


def test_every_file_of_a_study_has_a_version_or_a_reason(finished: Finished) -> None:
    """Who adds a kind of file without one has to say why; no kind is only on paper."""
    output = finished.folder / "output"
    places = [path.relative_to(output) for path in output.rglob("*") if path.is_file()]
    kinds = {place: find_kind(place) for place in places}
    assert [] == [str(p) for p, kind in kinds.items() if kind is None and not is_excused(p)]
    wrong = {
        str(place): read_stamp(output / place)
        for place, kind in kinds.items()
        if kind is not None and read_stamp(output / place) != _expected(place)
    }
    assert {} == wrong
    # A state is there while a training runs alone.
    assert set(KINDS) - {STATE} == set(kinds.values()) - {None}


def _expected(place: Path) -> dict[str, object]:
    stamp = make_stamp(find_kind(place))
    if place.match("ledger/*/shard-*.json"):
        del stamp["somaflow"]
    return {name: str(value) for name, value in stamp.items()} if place.suffix == ".html" else stamp


@pytest.mark.long
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_study_of_a_former_release_is_finished(
    release: Path, tmp_path: Path, somaflow: Run
) -> None:
    """The whole study run again trains, scores and segments nothing, and rewrites no result."""
    study = unpack(release, tmp_path)
    before = look(tmp_path / "output")
    done = somaflow("run", "study", study)
    assert done.returncode == 0, done.stdout + done.stderr
    after = look(tmp_path / "output")
    libraries = made_with(release)["libraries"]
    if libraries == {name: importlib.metadata.version(name) for name in libraries}:
        assert before == after  # keys hold versions: with other libraries it is done again
    text = (tmp_path / "output/study.yaml").read_text()
    assert make_stamp(KINDS[0]).items() <= yaml.safe_load(text).items()
    assert f"{release.name}, {package.__version__}; this is {package.__version__}" in done.stdout


def look(output: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and times of all results, but for empty files that are locked."""
    folders = [*(output / name for name in RESULTS), output / "donors" / "parts"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(output).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in files
        if path.stat().st_size
    }
