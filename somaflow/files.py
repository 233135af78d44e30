"""Files and folders that are whole or absent: temporary name, fsync, rename, fsync of the folder.

Nothing else in somaflow opens an output file for writing. A process killed at any moment leaves at
most a temporary, which ``sweep_temporaries`` removes at the next start. Whose they are is the
process's umask, which every entry point takes by ``take_umask``: the owner's alone.
"""

import errno
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from somaflow.errors import OutputError, StudyError
from somaflow.processes import is_alive

# One marker for every temporary, so that a sweep can never mistake a result for one.
_MARK = ".somaflow-tmp-"
_FOREIGN_TEMPORARY_AGE_S = 86_400
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_WRITE_HINTS = {
    errno.ENOSPC: "the disk is full; free space and run again, finished work is kept",
    errno.EDQUOT: "the disk quota is used up; free space and run again, finished work is kept",
    errno.EROFS: "the file system is read-only; remount it or choose another output folder",
    errno.EACCES: "permission denied; choose an output folder that you may write to",
    errno.EPERM: "permission denied; choose an output folder that you may write to",
    errno.ENOTDIR: "a file stands where a folder must be; move it or choose another output folder",
    errno.EEXIST: "a file stands where a folder must be; move it or choose another output folder",
    errno.ENOTEMPTY: "another process has just written it; run again",
}


UMASK = "SOMAFLOW_UMASK"
"""Environment variable: which permissions files are made without, as `umask` takes it."""
_OWNER_ALONE = 0o077


def read_umask() -> int:
    """The umask that this environment asks for; by default what is made is its owner's alone.

    Raises:
        StudyError: if SOMAFLOW_UMASK is no umask under which the owner may read and write.
    """
    text = os.environ.get(UMASK, "") or f"{_OWNER_ALONE:o}"
    try:
        umask = int(text, 8)
    except ValueError:
        umask = -1
    if not 0 <= umask <= _OWNER_ALONE:
        raise StudyError(
            f"{UMASK} must be a umask of three octal digits that leaves the owner everything, such "
            f"as 077 (the owner alone), 027 (a group reads) or 007 (a group writes), got {text!r}"
        )
    return umask


def take_umask() -> None:
    """Has this process, and those that it starts, make files as `read_umask` says.

    Raises:
        StudyError: if SOMAFLOW_UMASK is none.
    """
    os.umask(read_umask())


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turns an ``OSError`` while writing `path` into an `OutputError` that says what to do.

    Raises:
        OutputError: for a full, read-only or forbidden place; any other ``OSError`` passes.
    """
    try:
        yield
    except OSError as error:
        hint = _WRITE_HINTS.get(error.errno or 0)
        if hint is None or isinstance(error, OutputError):
            raise
        raise OutputError(f"output must be writable, cannot write {path}: {hint}") from error


def make_folder(path: Path) -> Path:
    """Creates `path` and its parents, and returns it.

    Raises:
        OutputError: if the place is not writable or a file stands in the way.
    """
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_bytes(path: Path, content: bytes) -> str:
    """Writes `content` to `path`, whole or not at all, and returns its sha256 as hex.

    Raises:
        OutputError: if the disk is full, read-only or forbidden; the temporary is removed.
    """
    make_folder(path.parent)
    temporary = name_temporary(path)
    with output_errors(path):
        try:
            _write_synced(temporary, content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


def write_text(path: Path, content: str) -> str:
    """Writes UTF-8 `content` to `path`, whole or not at all, and returns its sha256 as hex."""
    return write_bytes(path, content.encode())


def write_once(path: Path, content: bytes) -> None:
    """Writes a file that is never replaced: of several writers at once, one is the first.

    Raises:
        OutputError: if the disk is full, read-only or forbidden.
    """
    make_folder(path.parent)
    temporary = name_temporary(path)
    with output_errors(path):
        try:
            _write_synced(temporary, content)
            with suppress(FileExistsError):
                _link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a new folder of files, whole or not at all.

    Args:
        path: of the folder; nothing may be there yet, or an empty folder.
        files: content by path relative to the folder, with forward slashes.

    Raises:
        OutputError: if the disk is full, read-only or forbidden, or the place is taken; what was
            written so far is removed.
    """
    make_folder(path.parent)
    temporary = name_temporary(path)
    with output_errors(path):
        try:
            for name, content in files.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                _write_synced(temporary / name, content)
            for folder in [temporary, *(entry for entry in temporary.rglob("*") if entry.is_dir())]:
                _sync_folder(folder)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def private_folder(path: Path) -> Iterator[None]:
    """Makes a folder that its owner alone may enter, whatever the umask; removed with all in it.

    Args:
        path: from `name_temporary`, so that a later run sweeps what a killed one left.

    Raises:
        OutputError: if the place is not writable.
    """
    sweep_temporaries(make_folder(path.parent), recursive=False, of_others=False)
    with output_errors(path):
        path.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def hash_file(path: Path) -> str:
    """sha256 of the file's bytes, as hex.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sweep_temporaries(folder: Path, recursive: bool = True, of_others: bool = True) -> list[Path]:
    """Removes temporaries that no living process of this machine owns, and returns their paths.

    A temporary of another host is left alone for a day, since its writer may be alive.

    Args:
        folder: where to look.
        recursive: also in the folders below; leave it where others may be renaming folders there.
        of_others: also those of other hosts; leave it where they may be in use for days.
    """
    swept = []
    find = folder.rglob if recursive else folder.glob
    for path in sorted(find(f"*{_MARK}*")):
        if _is_orphan(path, of_others):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            swept.append(path)
    return swept


def name_temporary(path: Path) -> Path:
    """A name beside `path` that a sweep knows as a temporary of this process."""
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    return path.with_name(f"{path.name}{_MARK}{owner}")


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        source.replace(path)  # a file system without links: the last writer wins


def _is_orphan(path: Path, of_others: bool) -> bool:
    host, pid, _ = path.name.rsplit(_MARK, 1)[1].rsplit("-", 2)
    if host == socket.gethostname():
        return not is_alive(int(pid))
    try:
        return of_others and time.time() - path.stat().st_mtime > _FOREIGN_TEMPORARY_AGE_S
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_secret(path: Path, content: bytes) -> None:
    """Writes a file that nobody else could read at any moment."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "wb") as handle:
        handle.write(content)
