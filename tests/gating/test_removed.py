"""What a gate takes away, by size."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.gating import describe_removed, sweep_gates
from somaflow.recipes import Gate
from tests.gating.tables import gates, measure, tiles

KINDS = ["tp_kept", "tp_removed", "fp_kept", "fp_removed"]


def test_removed_cells_are_counted_by_size_and_kind() -> None:
    """Cells of 1, 4 and 9 px, the middle one right: a smallest area of 4 removes the first."""
    labels = np.zeros((10, 10), dtype=int)
    for label, (side, corner) in enumerate(((1, 0), (2, 2), (3, 5)), start=1):
        labels[corner : corner + side, corner : corner + side] = label
    reference = np.where(labels == 2, 5, 0)
    table = measure((reference, labels, np.zeros((2, 10, 10))), [])
    arguments = (table.cells, table.tiles, {"GFAP": Gate(min_area_px=4)}, [4, 9, 20], 0.5)

    actual = describe_removed(*arguments)
    assert [0, 4, 9, 20] == actual.from_area_px.tolist()
    assert [4, 9, 20, np.inf] == actual.below_area_px.tolist()
    assert [[0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]] == actual[KINDS].values.tolist()
    assert {("val", "GFAP")} == set(zip(actual.split, actual.marker, strict=True))


@given(
    tiles(),
    gates() | st.none(),
    st.sets(st.integers(1, 9), max_size=3),
    st.sampled_from([0.5, 0.7]),
)
def test_removed_and_kept_add_up_to_the_sweep(
    tile: tuple[np.ndarray, np.ndarray, np.ndarray],
    gate: Gate | None,
    edges: set[int],
    iou_threshold: float,
) -> None:
    """Over all sizes: right cells are those of no gate, kept cells those of the gate."""
    gate_or_none = gate or Gate()
    table = measure(tile, [gate_or_none], iou_threshold)
    tables = (table.cells, table.tiles)
    raw, gated = sweep_gates(*tables, [Gate(), gate_or_none], iou_threshold).itertuples()

    total = describe_removed(*tables, {"GFAP": gate}, sorted(edges), iou_threshold)[KINDS].sum()
    assert raw.tp == total.tp_kept + total.tp_removed
    assert raw.fp == total.fp_kept + total.fp_removed
    assert gated.n_predicted == total.tp_kept + total.fp_kept
    if iou_threshold > 0.5:
        assert gated.tp == total.tp_kept


def test_removed_cells_of_splits_and_markers_stay_apart() -> None:
    """Each split and marker has its own bins, empty ones too."""
    labels = np.ones((3, 3), dtype=int)
    tile = (labels, labels, np.zeros((2, 3, 3)))
    names = [("GFAP", "val"), ("GFAP", "test"), ("NeuN", "test")]
    parts = [measure(tile, [], tile_id=f"{m}{s}", marker=m, split=s) for m, s in names]
    cells = pd.concat([part.cells for part in parts])
    all_tiles = pd.concat([part.tiles for part in parts])

    actual = describe_removed(
        cells, all_tiles, {"GFAP": None, "NeuN": Gate(max_area_px=8)}, [5], 0.5
    )
    totals = actual.groupby(["split", "marker"])[KINDS].sum()
    assert 6 == len(actual)
    assert [1, 0, 0, 0] == totals.loc[("val", "GFAP")].tolist()
    assert [0, 1, 0, 0] == totals.loc[("test", "NeuN")].tolist()


def test_removed_refuses_a_marker_without_a_gate_and_unsorted_edges() -> None:
    """A marker left out by mistake would pass for one that needs no gate."""
    labels = np.ones((3, 3), dtype=int)
    table = measure((labels, labels, np.zeros((2, 3, 3))), [])

    with pytest.raises(ScoringError, match="no gate for GFAP"):
        describe_removed(table.cells, table.tiles, {}, [5], 0.5)
    with pytest.raises(ScoringError, match=r"edges \[9, 5\]"):
        describe_removed(table.cells, table.tiles, {"GFAP": None}, [9, 5], 0.5)
