"""A clock that was set back, noticed."""

import time


class JumpBack:
    """By how much the wall clock was set back since this object was made.

    Dask's messages wait for moments of the wall clock (distributed 2026.8.0, batched.py): after a
    jump they wait as long as the clock was set back.
    """

    def __init__(self) -> None:
        """Starts at the present moment."""
        self._highest = self._offset()

    def seconds(self) -> float:
        """Seconds by which the clock is behind, at least 0; small steps add up."""
        offset = self._offset()
        self._highest = max(self._highest, offset)
        return self._highest - offset

    @staticmethod
    def _offset() -> float:
        return time.time() - time.monotonic()
