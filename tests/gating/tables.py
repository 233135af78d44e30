"""Random tiles and gates, few enough cells that a cell often has two partners."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from somaflow.gating import GateTable, gate_quantiles, measure_gate_pairs
from somaflow.recipes import Gate

TILE = {
    "tile_id": "t0",
    "donor": "d0",
    "marker": "GFAP",
    "split": "val",
    "split_level": "donor",
    "n_cells": 3,
}
LABELS = st.sampled_from([0, 0, 1, 2, 7, 900])


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    """Any limits, on or off."""
    area = sorted(draw(st.tuples(st.integers(1, 6), st.integers(1, 6))))
    quantile = sorted(draw(st.tuples(*[st.sampled_from([0.0, 0.3, 0.5, 0.71, 1.0])] * 2)))
    names = ["min_area_px", "max_area_px", "min_marker_quantile", "max_marker_quantile"]
    on = draw(st.sets(st.sampled_from(names)))
    limits = zip(names, [*area, *quantile], strict=True)
    return Gate(**{name: limit for name, limit in limits if name in on})


@st.composite
def tiles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference labels, predicted labels and a (2, Y, X) image."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 6)))
    reference, labels = (draw(hnp.arrays(np.uint16, shape, elements=LABELS)) for _ in range(2))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    image = draw(hnp.arrays(dtype, (2, *shape), elements=st.integers(0, 9)))
    return reference, labels, image


def measure(
    tile: tuple[np.ndarray, np.ndarray, np.ndarray],
    gates: list[Gate],
    iou_threshold: float = 0.5,
    **names: str,
) -> GateTable:
    """The table of a tile for these gates."""
    return measure_gate_pairs(*tile, gate_quantiles(gates), iou_threshold, TILE | names)
