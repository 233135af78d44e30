"""Keys are the content's, and files are hashed once."""

import os
from pathlib import Path

import pytest

from somaflow import keys
from somaflow.errors import TileError
from somaflow.keys import content_key, fingerprint_files

LONG_AGO_NS = 1_600_000_000_000_000_000


def write(path: Path, content: str, mtime_ns: int = LONG_AGO_NS) -> str:
    path.write_text(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return str(path)


def test_content_key_depends_on_every_part_but_not_on_their_order() -> None:
    """Equal work has one key; a change in any part, or of the step's code, has another."""
    assert content_key("infer", a=1, b=2) == content_key("infer", b=2, a=1)
    assert content_key("infer", a=1, b=2) != content_key("infer", a=1, b=3)
    assert content_key("infer", a=1) != content_key("evaluate", a=1)
    assert 20 == len(content_key("infer", a=1))


def test_content_key_changes_with_the_step_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """New code of a step does not find results of the old one."""
    before = content_key("infer", a=1)
    monkeypatch.setitem(keys.STEP_VERSIONS, "infer", keys.STEP_VERSIONS["infer"] + 1)
    assert before != content_key("infer", a=1)


def test_fingerprints_are_of_the_content(tmp_path: Path) -> None:
    """Equal files have equal fingerprints, others do not, an absent channel is known as such."""
    paths = [write(tmp_path / name, text) for name, text in [("a", "x"), ("b", "x"), ("c", "y")]]
    found = fingerprint_files([*paths, ""], tmp_path / "index.parquet")
    assert found[paths[0]] == found[paths[1]] != found[paths[2]]
    assert "absent" == found[""]


def test_unchanged_files_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look costs a stat a file; a changed size or time costs a read."""
    paths = [write(tmp_path / name, name) for name in ("a", "b")]
    first = fingerprint_files(paths, tmp_path / "index.parquet")
    read: list[str] = []
    real = keys.hash_file
    monkeypatch.setattr(keys, "hash_file", lambda path: read.append(path.name) or real(path))
    assert first == fingerprint_files(paths, tmp_path / "index.parquet")
    assert [] == read
    write(tmp_path / "b", "B", LONG_AGO_NS + 1)
    assert first[paths[1]] != fingerprint_files(paths, tmp_path / "index.parquet")[paths[1]]
    assert ["b"] == read


def test_file_changed_just_now_is_read_again(tmp_path: Path) -> None:
    """Two edits within one tick of the clock, same size and time, are told apart."""
    path = tmp_path / "a"
    path.write_text("x")
    stamp_ns = path.stat().st_mtime_ns
    first = fingerprint_files([str(path)], tmp_path / "index.parquet")
    path.write_text("y")
    os.utime(path, ns=(stamp_ns, stamp_ns))
    assert first != fingerprint_files([str(path)], tmp_path / "index.parquet")


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is gone is one error with its path and what to do."""
    with pytest.raises(TileError, match=r"input file must be readable, .*gone.tif; restore it"):
        fingerprint_files([str(tmp_path / "gone.tif")], tmp_path / "index.parquet")
