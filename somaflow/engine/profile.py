"""Where the time of an inference went, stage by stage, and what bounds it."""

import threading
import time
from dataclasses import dataclass, field

import pandas as pd

from somaflow import timing

DEVICE_NET, DEVICE_OBJECTS = "device: net", "device: dynamics"
"""What a shared net did, beside the stages of the workers."""

LOAD, COMMIT, _IDLE = "load", "commit", "idle"
"""What is done once a shard, in one process: the model is loaded at most once a worker."""

_MEANINGS = {
    LOAD: "model and libraries",
    timing.READ: "files decoded",
    timing.NORMALISE: "channels scaled",
    timing.NET: "crops cut, seen and averaged",
    timing.DYNAMICS: "flows followed to objects",
    timing.CHECK: "flow errors, holes, sizes, gate",
    timing.FEATURES: "cells measured",
    timing.WRITE: "labels encoded",
    COMMIT: "files written and synced",
}
_WAITING = "waiting for the shared net"
_BUSY = 0.8
"""From this share of the time on a device is called busy."""


class Stopwatch:
    """Shares time between shards that overlap: each moment is one shard's alone."""

    def __init__(self) -> None:
        """Starts with the first shard."""
        self._lock = threading.Lock()
        self._until = float("-inf")
        self._device: timing.Seconds = {}

    def lap(
        self, started: float, before: timing.Seconds, now: timing.Seconds
    ) -> tuple[float, timing.Seconds]:
        """Wall seconds and device seconds of a shard that ends now.

        Args:
            started: when it began, of `time.perf_counter`.
            before: device seconds when it began.
            now: device seconds so far.
        """
        with self._lock:
            ended = time.perf_counter()
            wall_s = ended - max(started, self._until)
            counted = self._device
            spent = {
                name: s - max(before.get(name, 0.0), counted.get(name, 0.0))
                for name, s in now.items()
            }
            self._until, self._device = ended, now
            return wall_s, spent


@dataclass
class Profile:
    """Seconds by stage of some shards, summed over workers."""

    n_tiles: int = 0
    wall_s: float = 0.0
    """From the start of each shard to its commit; where shards overlap, that time once."""
    worker_s: float = 0.0
    """The same times the processes that worked on it."""
    stages: timing.Seconds = field(default_factory=dict)
    """Of the workers, by stage."""
    device: timing.Seconds = field(default_factory=dict)
    """Of a shared net; empty where each worker has its own."""
    notes: set[str] = field(default_factory=set)
    """What slowed it down, in words."""

    def add(self, other: "Profile") -> None:
        """Counts the other's shards too."""
        self.n_tiles += other.n_tiles
        self.wall_s += other.wall_s
        self.worker_s += other.worker_s
        timing.add(self.stages, other.stages)
        timing.add(self.device, other.device)
        self.notes |= other.notes

    def table(self) -> pd.DataFrame:
        """A row a stage: stage, what it is, seconds, ms_a_tile, share_percent.

        Shares of workers' stages are of the time of all workers, those of the device of the time
        that passed; what is left of the workers' time is `idle`.
        """
        waits = bool(self.device)
        parts = [
            (name, _WAITING if waits and name == timing.NET else what, self.stages[name])
            for name, what in _MEANINGS.items()
            if name in self.stages
        ]
        idle_s = max(self.worker_s - sum(seconds for *_, seconds in parts), 0.0)
        rows = [(*part, self.worker_s) for part in (*parts, (_IDLE, "no work", idle_s))]
        rows += [(name, "on the shared device", s, self.wall_s) for name, s in self.device.items()]
        return pd.DataFrame(
            {
                "stage": name,
                "what": what,
                "seconds": round(seconds, 2),
                "ms_a_tile": round(1000 * seconds / max(self.n_tiles, 1), 2),
                "share_percent": round(100 * seconds / whole, 1) if whole else 0.0,
            }
            for name, what, seconds, whole in rows
        )

    def bound(self) -> str:
        """What bounds the inference, and what would help, as a sentence."""
        if not self.n_tiles:
            return "Nothing was segmented."
        if self.device:
            busy = self.device.get(DEVICE_NET, 0.0) / self.wall_s
            if busy >= _BUSY:
                return f"The net bounds it: its device is busy {busy:.0%} of the time."
            waits = self.stages.get(timing.NET, 0.0) / self.worker_s
            if waits < 1 - _BUSY:
                return (
                    f"The workers bound it: the device is busy {busy:.0%} of the time, and they "
                    f"wait for it {waits:.0%} of theirs; give the job more cores."
                )
            return (
                f"Neither device ({busy:.0%} busy) nor workers are busy all the time: shards may "
                "be too small to fill the device; raise shard_tiles of the study."
            )
        stage, seconds = max(self.stages.items(), key=lambda item: item[1])
        share = seconds / self.worker_s
        return f"Most goes to {stage}, {_MEANINGS[stage]}: {share:.0%} of the workers' time."

    def describe(self) -> str:
        """The table and the sentence, as lines of text."""
        rate = self.n_tiles / self.wall_s if self.wall_s else 0.0
        head = f"{self.n_tiles} tiles, {rate:.3g} a second of each shard's time"
        lines = [head, self.table().to_string(index=False), self.bound(), *sorted(self.notes)]
        return "\n".join(lines)
