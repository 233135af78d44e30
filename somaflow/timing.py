"""Where the time of a tile goes: seconds by stage, collected by whoever asks.

Stages that run inside each other count once: the outer one is given what the inner ones leave.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STAGES = ("read", "normalise", "net", "dynamics", "check", "features", "write")
READ, NORMALISE, NET, DYNAMICS, CHECK, FEATURES, WRITE = STAGES
"""The stages of a tile, in order; `check` is flow errors, holes, sizes and the gate."""

Seconds = dict[str, float]

_COLLECTED: ContextVar[Seconds | None] = ContextVar("somaflow_seconds", default=None)


@contextmanager
def collect() -> Iterator[Seconds]:
    """Collects the seconds of all stages within the block, of this thread."""
    seconds: Seconds = {}
    token = _COLLECTED.set(seconds)
    try:
        yield seconds
    finally:
        _COLLECTED.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Counts the block's time for a stage, if someone collects."""
    seconds = _COLLECTED.get()
    if seconds is None:
        yield
        return
    before, started = sum(seconds.values()), time.perf_counter()
    try:
        yield
    finally:
        inner = sum(seconds.values()) - before
        spent = time.perf_counter() - started - inner
        seconds[name] = seconds.get(name, 0.0) + spent


def add(total: Seconds, more: Seconds) -> None:
    """Adds seconds by stage to others, in place."""
    for name, seconds in more.items():
        total[name] = total.get(name, 0.0) + seconds
