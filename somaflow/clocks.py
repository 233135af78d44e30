"""Time: a duration in words, and a clock that was set back, noticed."""

import time


def describe_duration(seconds: float) -> str:
    """A duration in words, for example "2 h 05 min"; two units are enough."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    days, rest_h = divmod(hours, 24)
    if days:
        return f"{days} d {rest_h:02} h"
    if hours:
        return f"{hours} h {rest_min:02} min"
    return f"{minutes} min {rest_s:02} s" if minutes else f"{rest_s} s"


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
