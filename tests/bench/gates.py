"""Scoring a grid of gates: one measured table against gating and matching once a gate."""

import numpy as np

from somaflow.evaluation import count_matches
from somaflow.gating import (
    gate_labels,
    gate_quantiles,
    list_gates,
    measure_gate_pairs,
    sweep_gates,
)
from somaflow.settings import GateGrid
from tests.bench.labels import jitter_labels, make_ellipses
from tests.bench.timing import time_pair

# 5 x 5 x 4 = 100 gates, the first of which removes nothing.
_GRID = GateGrid(
    min_area_px=[None, 20, 50, 80, 120],
    max_area_px=[None, 600, 900, 1400, 2000],
    min_marker_quantile=[None, 0.5, 0.75, 0.9],
)
_TILE = dict.fromkeys(("tile_id", "donor", "marker", "split", "split_level"), "bench")
_COUNTS = ["tp", "fp", "fn", "n_reference", "n_predicted"]


def bench_gate_grid(n_cells: int = 500, size_px: int = 1024) -> dict[str, object]:
    """One tile's TP, FP and FN at IoU 0.5 under each of 100 gates; measuring is part of ours."""
    reference = make_ellipses(n_cells, (size_px, size_px))
    labels = jitter_labels(reference)
    image = np.random.default_rng(0).integers(0, 256, (2, size_px, size_px), dtype=np.uint8)
    image[1][labels > 0] |= 128
    gates = list_gates(_GRID)

    def sweep_all() -> list[tuple[int, ...]]:
        table = measure_gate_pairs(reference, labels, image, gate_quantiles(gates), 0.5, _TILE)
        swept = sweep_gates(table.cells, table.tiles, gates, 0.5)
        return list(swept[_COUNTS].itertuples(index=False, name=None))

    def match_each() -> list[tuple[int, ...]]:
        gated = (gate_labels(labels, image[1], gate) for gate in gates)
        counts = [count_matches(reference, one, 0.5) for one in gated]
        return [tuple(getattr(one, name) for name in _COUNTS) for one in counts]

    return {
        "name": "gate_grid",
        **time_pair(sweep_all, match_each, n_repeats=5),
        "equal": sweep_all() == match_each(),
        "theirs": f"gate_labels and count_matches for each of {len(gates)} gates, {n_cells} cells "
        f"on {size_px} x {size_px} px",
    }
