"""A worker process of the engine: one tile at a time, from the file to encoded labels and cells.

Enters: jobs over a pipe. Leaves: a `TileDone` each. A worker that segments by itself loads the net;
one that shares a device with others sends planes and gets flows and objects back.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from somaflow import timing
from somaflow.engine.slots import Slot
from somaflow.engine.work import segment_tile
from somaflow.errors import DeviceError, ModelError
from somaflow.processes import die_with_parent
from somaflow.recipes import Recipe, Segments
from somaflow.segmenter import load_for


class RemoteSegmenter:
    """Segments with a net that runs in the parent; `Segments` for `segment_tile`."""

    device = "cuda"

    def __init__(self, pipe: Connection, slot: Slot) -> None:
        """Asks over the pipe, with planes and answers in the slot."""
        self._pipe, self._slot = pipe, slot

    def segment(self, tiles: Any, recipe: Recipe) -> list[NDArray[np.uint32]]:
        """Labels of each tile, as `segmenter.Segmenter.segment`."""
        return [self._segment(np.asarray(tile), recipe) for tile in tiles]

    def _segment(self, tile: NDArray[Any], recipe: Recipe) -> NDArray[np.uint32]:
        from somaflow.segmenter.candidates import Candidates
        from somaflow.segmenter.dynamics import number_objects
        from somaflow.segmenter.inputs import normalise_input

        with timing.stage(timing.NORMALISE):
            planes = normalise_input(tile, recipe.channels, recipe.normalisation)[:2]
            views = self._slot.open(*planes.shape[1:])
            views.planes[...] = planes
        with timing.stage(timing.NET):
            self._pipe.send(("net", planes.shape[1:], recipe))
            problem = self._pipe.recv()
        if problem is not None:
            raise problem
        with timing.stage(timing.CHECK):
            candidates = Candidates(number_objects(views.found), views.planes, exact=False)
            return candidates.select_gated(recipe, tile[1])


def serve(pipe: Connection, slot: Slot) -> None:
    """Does jobs until the parent ends the pipe."""
    loaded: dict[tuple[str, str | None], Segments] = {}
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        if asked is None:
            return
        recipe = asked.job.recipe
        key = recipe.model, recipe.model_sha256
        try:
            if asked.is_remote:
                segmenter: Segments = RemoteSegmenter(pipe, slot)
            else:
                segmenter = loaded[key] = loaded.get(key) or load_for(recipe, "cpu")
            done: Any = segment_tile(asked.job.row, segmenter, recipe, asked.job.pixel_offset)
        except (DeviceError, ModelError) as error:
            done = error  # no tile's fault: it fails them all
        pipe.send(("done", done))


def main() -> None:
    """``python -m somaflow.engine.worker PIPE SLOT``: descriptors that the parent left open."""
    die_with_parent()
    # Ctrl-C reaches all processes of a terminal: the parent is asked, and ends the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, slot = Connection(int(sys.argv[1])), Slot(int(sys.argv[2]))
    try:
        serve(pipe, slot)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(1)  # the parent is gone


if __name__ == "__main__":
    main()
