"""Who is at work: on a shard, one worker; on a study, one run that segments it.

A claim is a lock of the kernel, which drops it with the process that has it, however that dies.
Where a file system has no locks there are no claims: then work is done twice, to the same bytes.
"""

import errno
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from somaflow.errors import BusyError, OutputError
from somaflow.files import make_folder, output_errors, write_text
from somaflow.paths import RunPaths

SCHEMA_VERSION = 1
IfBusy = Literal["wait", "refuse"]

_CLAIM_POLL_S = 0.2
_STUDY_POLL_S = 1.0
_LOOKS_BEFORE_REFUSAL = 3
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def claim_shard(
    paths: RunPaths, key: str, shard: int, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Holds a shard for the block; waits while another process, on any node, holds it.

    So two runs of one study share its work.

    Args:
        paths: of the study.
        key: of the inference.
        shard: to hold.
        while_waiting: called now and then; what it raises ends the waiting.

    Raises:
        OutputError: if the file of the claims cannot be made.
    """
    path = paths.claims(key)
    with output_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while not _lock_byte(descriptor, shard):
            while_waiting()
            time.sleep(_CLAIM_POLL_S)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Holder:
    """The run that is at work on a study."""

    run: str
    """Its name on the dashboard."""
    host: str
    pid: int
    since: str
    """ISO 8601, UTC, to the second."""

    def __str__(self) -> str:
        """For a sentence: name, process, machine, since when."""
        return f"run {self.run!r} (process {self.pid} on {self.host}, since {self.since})"


_UNNAMED = Holder("unknown", "an unknown machine", 0, "an unknown time")
# What is claimed here already, so that a flow within a flow does not wait for itself.
_CLAIMED: ContextVar[frozenset[Path]] = ContextVar("claimed studies", default=frozenset())


@contextmanager
def claim_study(
    paths: RunPaths,
    run: str,
    if_busy: IfBusy = "wait",
    while_waiting: Callable[[Holder], None] = lambda holder: None,
) -> Iterator[None]:
    """Holds a study's outputs for the block, for one run that segments it.

    Within the block the same claim again, by the same thread, is no other's and is given at once.

    Args:
        paths: of the study.
        run: name of the run, for those who find the study busy.
        if_busy: `wait` until it is free, or `refuse` at once.
        while_waiting: called every second with who has it; what it raises ends the waiting.

    Raises:
        BusyError: if another run has it and `if_busy` says to refuse.
        OutputError: if the output folder cannot be written.
    """
    output = paths.output.resolve()
    if output in _CLAIMED.get():
        yield
        return
    make_folder(paths.output)
    descriptor = _await_lock(paths, if_busy, while_waiting)
    token = _CLAIMED.set(_CLAIMED.get() | {output})
    try:
        with _signed(paths, run):
            yield
    finally:
        _CLAIMED.reset(token)
        os.close(descriptor)


def find_holder(paths: RunPaths) -> Holder | None:
    """Who is at work on a study, on any node; None if nobody is, or no lock can tell."""
    if not paths.claim.exists():
        return None
    with suppress(OutputError):
        descriptor = _lock_file(paths.claim)
        if descriptor is None:
            return _read_holder(paths)
        os.close(descriptor)
    return None


def refuse_if_busy(paths: RunPaths) -> None:
    """Looks, without claiming anything.

    Raises:
        BusyError: if a run is at work on the study.
    """
    if (holder := find_holder(paths)) is not None:
        raise BusyError(_refusal(paths, holder))


def _await_lock(paths: RunPaths, if_busy: IfBusy, while_waiting: Callable[[Holder], None]) -> int:
    """The open, locked file; see `claim_study`."""
    n_looks = 0
    while (descriptor := _lock_file(paths.claim)) is None:
        n_looks += 1
        holder = _read_holder(paths)
        if if_busy == "wait":
            while_waiting(holder)
        elif n_looks > _LOOKS_BEFORE_REFUSAL:  # who only looks has it for a moment, too
            raise BusyError(_refusal(paths, holder))
        time.sleep(_STUDY_POLL_S if if_busy == "wait" else _CLAIM_POLL_S)
    return descriptor


def _refusal(paths: RunPaths, holder: Holder) -> str:
    return (
        f"one run at a time segments a study, {holder} is at work on {paths.output}; wait for it "
        "or cancel it, or start with if_busy `wait`"
    )


@contextmanager
def _signed(paths: RunPaths, run: str) -> Iterator[None]:
    """Leaves word of who has the claim; on a full disk others are told less, that is all."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = Holder(run, socket.gethostname(), os.getpid(), since)
    content = {"schema_version": SCHEMA_VERSION, **asdict(holder)}
    with suppress(OutputError):
        write_text(paths.claim_holder, json.dumps(content, indent=1) + "\n")
    try:
        yield
    finally:
        with suppress(OSError):
            paths.claim_holder.unlink()


def _read_holder(paths: RunPaths) -> Holder:
    """Who signed; between claiming and signing, and on a full disk, nobody has."""
    try:
        content = json.loads(paths.claim_holder.read_text(encoding="utf-8"))
        return Holder(**{name: content[name] for name in ("run", "host", "pid", "since")})
    except (OSError, ValueError, KeyError, TypeError):
        return _UNNAMED


def _lock_byte(descriptor: int, byte: int) -> bool:
    """Locks one byte for this open file, not for its process, whose threads are many."""
    if not hasattr(fcntl, "F_OFD_SETLK"):  # not Linux
        return True
    wish = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wish)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _lock_file(path: Path) -> int | None:
    """Opens and locks a file; None if another has it locked. Closing gives it back.

    It is opened for reading if that will do, since a file that is open for writing keeps a disk
    from being made read-only; NFS locks only what is open for writing.

    Raises:
        OutputError: if the file cannot be made.
    """
    with output_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        if error.errno != errno.EBADF:
            return descriptor  # a file system without locks
        os.close(descriptor)
        with output_errors(path):
            descriptor = os.open(path, os.O_RDWR)
        if not _lock_byte(descriptor, 0):
            os.close(descriptor)
            return None
    return descriptor
