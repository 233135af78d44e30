"""Child processes that never outlive their parent."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Makes the calling process end when its parent does, by whatever death (Linux only).

    To be passed as `preexec_fn`: a server or flow left behind by `kill -9` would hold its port
    and database for ever.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
