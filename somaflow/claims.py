"""Who works on a shard: two runs of one study, or a worker that outlived its run, never both."""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from somaflow.files import output_errors
from somaflow.paths import RunPaths

_CLAIM_POLL_S = 0.2
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def claim_shard(
    paths: RunPaths, key: str, shard: int, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Holds a shard for the block; waits while another process, on any node, holds it.

    So two runs of one study share its work. The kernel drops the claim with the process that has
    it, however that dies. A file system without locks has no claims: then the work is done twice,
    with the same bytes.

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
