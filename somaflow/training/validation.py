"""How good a net is on val while it is trained: pooled precision, recall and F1, and mean AP50."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from somaflow.evaluation import MatchCounts, count_matches, summarise
from somaflow.evaluation.scoring import read_prepared
from somaflow.recipes import Recipe, TrainingSettings
from somaflow.segmenter import Segmenter, wrap_net

SCORES = {
    "val_precision_pooled": "precision_pooled",
    "val_recall_pooled": "recall_pooled",
    "val_f1_pooled": "f1_pooled",
    "val_ap50_image_mean": "ap50_image_mean",
}
"""Columns of the history, and the metrics in them."""


@dataclass(frozen=True)
class ValTile:
    """A labelled tile that is scored, never trained on."""

    recipe: Recipe
    image: NDArray[Any]
    """(2, Y, X), DAPI and marker."""
    labels: NDArray[Any]
    """(Y, X), 0 = background."""


@dataclass
class Validation:
    """The val tiles, in memory, and what they are segmented with."""

    tiles: list[ValTile]
    slowest_tile_s: float = 0.0

    @classmethod
    def load(
        cls, rows: pd.DataFrame, folder: Path, base: Recipe, settings: TrainingSettings
    ) -> "Validation":
        """Reads the tiles of these rows of a prepared folder.

        Args:
            rows: of `prepared.parquet`.
            folder: the folder they lie in.
            base: thresholds and gate, possibly per marker; its model is not used.
            settings: how the net is shown the tiles.
        """
        tiles = []
        for row in rows.itertuples():
            chosen = settings.apply_to(base.for_marker(str(row.marker)))
            recipe = chosen.model_copy(update={"model_sha256": None})
            tiles.append(ValTile(recipe, *read_prepared(row, folder)))
        return cls(tiles)

    def estimate_s(self, net: Any) -> float:
        """Seconds one scoring will take, from segmenting one tile with the net; 0 without tiles."""
        if not self.tiles:
            return 0.0
        smallest = min(self.tiles, key=lambda tile: tile.labels.size)
        n_px = sum(tile.labels.size for tile in self.tiles)
        segmenter = wrap_net(net, "training")
        _segment(segmenter, smallest)  # the first call of a process also compiles and warms up
        start = time.monotonic()
        _segment(segmenter, smallest)
        return (time.monotonic() - start) * n_px / smallest.labels.size

    def score(self, net: Any, check: Callable[[], None]) -> dict[str, float]:
        """Metrics of the net over all tiles, named as in `SCORES`; leaves it in evaluation mode.

        Args:
            net: segmented with as it is.
            check: called before each tile; may raise to give up.
        """
        segmenter = wrap_net(net, "training")
        counts = []
        for tile in self.tiles:
            check()
            start = time.monotonic()
            counts.append(_count(segmenter, tile))
            self.slowest_tile_s = max(self.slowest_tile_s, time.monotonic() - start)
        table = pd.DataFrame([{"tp": found.tp, "fp": found.fp, "fn": found.fn} for found in counts])
        # Intervals are not used here; one resample costs nothing.
        [row] = summarise(table, n_resamples=1).to_dict("records")
        return {column: float(row[metric]) for column, metric in SCORES.items()}


def _count(segmenter: Segmenter, tile: ValTile) -> MatchCounts:
    return count_matches(tile.labels, _segment(segmenter, tile))


def _segment(segmenter: Segmenter, tile: ValTile) -> NDArray[np.uint32]:
    return segmenter.segment([tile.image], tile.recipe)[0]
