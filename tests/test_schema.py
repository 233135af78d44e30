"""Every kind of file has a version, and one that cannot be read is refused in words."""

import re
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

import somaflow
from somaflow.errors import SchemaError
from somaflow.schema import CELLS, KINDS, TILES, check_stamp, find_kind, make_stamp
from tests.conftest import REPOSITORY

# Tables for people, which somaflow never reads again.
WITHOUT_STAMP = {"somaflow/stamps.py", "somaflow/report/writing.py"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_stamp_of_now_is_readable_now(kind) -> None:
    """What is written today, and what 0.1.0 wrote without a stamp, is not refused."""
    assert {"schema_version": kind.version, "somaflow": somaflow.__version__} == make_stamp(kind)
    check_stamp(kind, "file", make_stamp(kind))
    if kind.oldest == 1:
        check_stamp(kind, "file", {"any": "field"})


def test_newer_file_is_refused_in_one_sentence() -> None:
    """The message names file, version, who wrote it, and what to install."""
    expected = (
        f"schema_version of a tile table must be at most 1 for somaflow {somaflow.__version__}, "
        "/o/tiles.parquet has 7, written by somaflow 3.1; install somaflow >= 3.1 or use another "
        "output folder"
    )
    with pytest.raises(SchemaError, match=f"^{re.escape(expected)}$"):
        check_stamp(TILES, "/o/tiles.parquet", {"schema_version": 7, "somaflow": "3.1"})


def test_newer_file_of_an_unknown_release_is_refused() -> None:
    """Without a release in the stamp the message still says what to do."""
    with pytest.raises(SchemaError, match="install the somaflow that wrote it or use another"):
        check_stamp(TILES, "file", {"schema_version": 2})


def test_file_older_than_can_be_read_is_refused() -> None:
    """A layout that was given up names the release that reads it and the flow that makes it new."""
    kind = replace(CELLS, version=3, oldest=2)
    check_stamp(kind, "file", {"schema_version": 2})
    with pytest.raises(SchemaError, match=r"written by somaflow 0\.1\.0; .* run e5-inference"):
        check_stamp(kind, "file", {})


@pytest.mark.parametrize("found", ["new", "", "-1", -1, 0, 1.5, True, None, [1]])
def test_version_that_is_none_is_an_error_in_words(found: object) -> None:
    """Text, negative numbers and the like are neither taken for a version nor a crash."""
    with pytest.raises(SchemaError, match="must be a whole number from 1 on, the tile table f has"):
        check_stamp(TILES, "f", {"schema_version": found})


def test_version_as_text_is_a_version() -> None:
    """YAML that is read as text, as that of splits is, has its version as text."""
    check_stamp(TILES, "file", {"schema_version": "1"})


def test_kinds_are_told_apart_by_their_place() -> None:
    """No two kinds lie at the same place, and each is found by its own."""
    for kind in KINDS:
        for pattern in kind.places:
            assert kind == find_kind(PurePosixPath(pattern.replace("*", "00")))
    assert find_kind(PurePosixPath("donors/current.txt")) is None
    assert find_kind(PurePosixPath("deep/tiles.parquet")) is None


@pytest.mark.parametrize("room", ["somaflow", "tasks", "flows"])
def test_tables_are_written_and_read_with_their_stamp(room: str) -> None:
    """No module goes past `stamps` to read or write parquet, so no new file lacks a version."""
    past = [
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / room).rglob("*.py")
        if re.search(r"\.to_parquet\(|\.read_parquet\(", path.read_text())
    ]
    assert [] == sorted(set(past) - WITHOUT_STAMP)
