"""What an engine is asked to do, and what whoever asks may rely on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from somaflow.engine.profile import Stopwatch
from somaflow.engine.work import Row, TileDone
from somaflow.recipes import Recipe
from somaflow.timing import Seconds


@dataclass(frozen=True)
class Job:
    """A tile to be segmented."""

    row: Row
    """Of the plan."""
    recipe: Recipe
    """One set."""
    pixel_offset: int = 0


class RunsJobs(Protocol):
    """Whatever segments many tiles: `Engine`, `SerialEngine`."""

    stopwatch: Stopwatch
    """Of the shards it works on."""

    def prepare(self, recipe: Recipe) -> str:
        """Loads what segments with one set; says on which device it runs, `cuda` or `cpu`.

        Raises:
            ModelError: if the model is not what the recipe asks for.
            DeviceError: if the device is not there.
        """

    @property
    def n_workers(self) -> int:
        """Processes that do tiles at the same time."""

    def device_seconds(self) -> Seconds:
        """What a shared net did so far, by `profile.DEVICE_NET` and the like; else nothing."""

    def notes(self) -> list[str]:
        """What slows the engine down, in words."""

    def run(self, jobs: Iterable[Job]) -> Iterator[TileDone]:
        """The result of each job, in order; takes jobs as results are taken."""
