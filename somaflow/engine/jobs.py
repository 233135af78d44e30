"""What an engine is asked to do, and what whoever asks may rely on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from somaflow.engine.work import Row, TileDone
from somaflow.recipes import Recipe


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

    def prepare(self, recipe: Recipe) -> str:
        """Loads what segments with one set; says on which device it runs, `cuda` or `cpu`.

        Raises:
            ModelError: if the model is not what the recipe asks for.
            DeviceError: if the device is not there.
        """

    def run(self, jobs: Iterable[Job]) -> Iterator[TileDone]:
        """The result of each job, in order; takes jobs as results are taken."""
