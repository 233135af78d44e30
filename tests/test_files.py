"""Files are whole or absent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from somaflow.errors import OutputError
from somaflow.files import (
    UMASK,
    hash_file,
    make_folder,
    name_temporary,
    private_folder,
    sweep_temporaries,
    write_bytes,
    write_folder,
    write_once,
)

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_write_bytes_returns_the_checksum_of_the_file(tmp_path: Path) -> None:
    """The sha256 returned is that of the bytes on disk."""
    assert EMPTY_SHA256 == write_bytes(tmp_path / "a" / "empty", b"")
    assert write_bytes(tmp_path / "b", b"x") == hash_file(tmp_path / "b")


def test_write_bytes_keeps_the_former_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails half-way leaves the former content and no temporary."""
    path = tmp_path / "file"
    write_bytes(path, b"former")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="the disk is full; free space and run again"):
        write_bytes(path, b"new")
    assert b"former" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_write_folder_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are there, or, after a failure in the middle, neither a file nor a temporary."""
    write_folder(tmp_path / "whole", {"a": b"1", "sub/b": b"2"})
    assert b"1" == (tmp_path / "whole" / "a").read_bytes()
    assert b"2" == (tmp_path / "whole" / "sub" / "b").read_bytes()
    left = [1]

    def fail(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="the disk is full; free space and run again"):
        write_folder(tmp_path / "half", {"a": b"1", "sub/b": b"2"})
    assert [tmp_path / "whole"] == list(tmp_path.iterdir())


def test_write_folder_never_replaces_another(tmp_path: Path) -> None:
    """A folder that another process has written meanwhile stays, and the error says so."""
    write_folder(tmp_path / "x", {"a": b"theirs"})
    with pytest.raises(OutputError, match="another process has just written it; run again"):
        write_folder(tmp_path / "x", {"a": b"ours"})
    assert [b"theirs"] == [path.read_bytes() for path in tmp_path.rglob("a")]


def test_make_folder_names_the_file_in_the_way(tmp_path: Path) -> None:
    """A file where a folder must be is one clear error."""
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder must be"):
        make_folder(tmp_path / "out" / "labels")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_write_bytes_to_a_forbidden_folder_is_refused(tmp_path: Path) -> None:
    """A folder without write permission is one clear error."""
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied; choose an output folder"):
        write_bytes(tmp_path / "file", b"")


def test_sweep_removes_temporaries_of_dead_processes_alone(tmp_path: Path) -> None:
    """What a killed writer left is removed; a living writer's file and results stay."""
    script = (
        "import os, sys, signal, pathlib, somaflow.files as files\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_bytes(pathlib.Path(sys.argv[1]) / 'sub' / 'shard', b'half')\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (orphan,) = (tmp_path / "sub").iterdir()
    alive = orphan.with_name(orphan.name.replace(orphan.name.split("-")[-2], str(os.getpid())))
    alive.write_bytes(b"being written")
    write_bytes(tmp_path / "sub" / "result", b"whole")
    assert [orphan] == sweep_temporaries(tmp_path)
    assert {alive, tmp_path / "sub" / "result"} == set((tmp_path / "sub").iterdir())


def test_sweep_removes_temporary_folders(tmp_path: Path) -> None:
    """A folder that a killed writer left half full is removed with all that is in it."""
    script = (
        "import os, sys, signal, pathlib, somaflow.files as files\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_folder(pathlib.Path(sys.argv[1]) / 'image', {'a/b': b'half'})\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (orphan,) = tmp_path.iterdir()
    assert (orphan / "a" / "b").exists()
    assert [orphan] == sweep_temporaries(tmp_path, recursive=False)
    assert [] == list(tmp_path.iterdir())


def test_write_once_keeps_the_first_content(tmp_path: Path) -> None:
    """Who comes second writes nothing, and leaves no temporary."""
    write_once(tmp_path / "a" / "secret", b"first")
    write_once(tmp_path / "a" / "secret", b"second")
    assert b"first" == (tmp_path / "a" / "secret").read_bytes()
    assert ["secret"] == [path.name for path in (tmp_path / "a").iterdir()]


def test_write_once_does_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_once(tmp_path / "secret", b"first")
    assert b"first" == (tmp_path / "secret").read_bytes()
    assert ["secret"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("umask", "folder_mode", "file_mode"),
    [(None, 0o700, 0o600), ("027", 0o750, 0o640), ("007", 0o770, 0o660)],
)
def test_command_line_makes_files_for_their_owner_or_a_group(
    tmp_path: Path, umask: str | None, folder_mode: int, file_mode: int
) -> None:
    """Whatever the shell's own umask is; SOMAFLOW_UMASK lets a group share."""
    environment = {name: value for name, value in os.environ.items() if name != UMASK}
    done = subprocess.run(
        [sys.executable, "-m", "somaflow", "init", str(tmp_path / "new")],
        env=environment | ({} if umask is None else {UMASK: umask}),
        umask=0o022,
        check=False,
    )
    assert 0 == done.returncode
    assert folder_mode == (tmp_path / "new").stat().st_mode & 0o777
    assert file_mode == (tmp_path / "new" / "study.yaml").stat().st_mode & 0o777


@pytest.mark.parametrize("umask", ["rw", "777", "-1", "0o27x"])
def test_what_is_no_umask_is_refused(tmp_path: Path, umask: str) -> None:
    """Before anything is written, and nobody is left without a right to what is their own."""
    done = subprocess.run(
        [sys.executable, "-m", "somaflow", "init", str(tmp_path / "new")],
        env={**os.environ, UMASK: umask},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert "SOMAFLOW_UMASK must be a umask of three octal digits that leaves" in done.stderr
    assert repr(umask) in done.stderr
    assert not (tmp_path / "new").exists()


def test_private_folder_sweeps_what_a_killed_run_left_and_no_more(tmp_path: Path) -> None:
    """One of a dead process of this host goes; one of another host may be in use for days."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    own = name_temporary(tmp_path / "tls")
    left = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    foreign = tmp_path / "tls.somaflow-tmp-another-host-1-abcdef12"
    for folder in (left, foreign):
        folder.mkdir()
        os.utime(folder, (0, 0))
    with private_folder(own):
        assert {own, foreign} == set(tmp_path.iterdir())
        assert 0o700 == own.stat().st_mode & 0o777
    assert {foreign} == set(tmp_path.iterdir())
