"""Tiles one after the other in this process: for a CPU whose neighbours do the same."""

from collections.abc import Callable, Iterable, Iterator

from somaflow.engine.jobs import Job
from somaflow.engine.profile import Stopwatch
from somaflow.engine.work import TileDone, segment_tile
from somaflow.recipes import Recipe, Segments
from somaflow.timing import Seconds


class SerialEngine:
    """Has the face of `Engine`, and no processes.

    Args:
        load: gives the segmenter of one set.
    """

    def __init__(self, load: Callable[[Recipe], Segments]) -> None:
        """Loads nothing yet."""
        self._load = load
        self.stopwatch = Stopwatch()

    def prepare(self, recipe: Recipe) -> str:
        """Loads what segments with one set; says on which device it runs."""
        return self._load(recipe).device

    @property
    def n_workers(self) -> int:
        """This process."""
        return 1

    def device_seconds(self) -> Seconds:
        """Nothing is shared."""
        return {}

    def notes(self) -> list[str]:
        """Nothing slows it down."""
        return []

    def run(self, jobs: Iterable[Job]) -> Iterator[TileDone]:
        """The result of each job, in order."""
        for job in jobs:
            yield segment_tile(job.row, self._load(job.recipe), job.recipe, job.pixel_offset)
