"""A sweep over gates equals gating and matching each, and the choice is made on val."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.evaluation import count_matches
from somaflow.gating import (
    choose_gates,
    gate_labels,
    gate_quantiles,
    gate_table,
    list_gates,
    sweep_gates,
)
from somaflow.recipes import Gate
from somaflow.settings import GateGrid
from tests.gating.tables import gates, measure, tiles

COUNTS = ["tp", "fp", "fn", "n_reference", "n_predicted"]
GATES = [Gate(), Gate(min_area_px=1), Gate(min_area_px=30), Gate(min_area_px=30, max_area_px=900)]


def _swept(**rows: list[tuple[str, int, int, int, int]]) -> pd.DataFrame:
    """Counts of one tile a marker and split from (split, gate, tp, fp, fn)."""
    return pd.DataFrame(
        [
            {"tile_id": f"{marker}-{split}", "marker": marker, "split": split, "gate": gate,
             "tp": tp, "fp": fp, "fn": fn}
            for marker, own in rows.items()
            for split, gate, tp, fp, fn in own
        ]
    )  # fmt: skip


@given(
    tiles(), st.lists(gates(), min_size=1, max_size=6), st.sampled_from([0.1, 0.3, 0.5, 0.51, 0.8])
)
def test_sweep_equals_gating_and_matching_each(
    tile: tuple[np.ndarray, np.ndarray, np.ndarray], gates: list[Gate], iou_threshold: float
) -> None:
    """Every gate's counts are those of `count_matches` on the gated labels, two partners or not."""
    reference, labels, image = tile
    table = measure(tile, gates, iou_threshold)

    swept = sweep_gates(table.cells, table.tiles, gates, iou_threshold)
    for gate, row in zip(gates, swept.itertuples(), strict=True):
        gated = gate_labels(labels, image[1], gate)
        expected = count_matches(reference, gated, iou_threshold)
        assert expected == type(expected)(*(getattr(row, name) for name in COUNTS))


@settings(max_examples=40)
@given(tiles(), st.lists(gates(), min_size=1, max_size=3))
def test_sweep_never_adds_a_cell(
    tile: tuple[np.ndarray, np.ndarray, np.ndarray], gates: list[Gate]
) -> None:
    """No gate has more matches or more wrong cells than no gate; the reference stays."""
    table = measure(tile, gates)
    raw, *rows = sweep_gates(table.cells, table.tiles, [Gate(), *gates], 0.5).itertuples()

    assert all(row.tp <= raw.tp and row.n_predicted <= raw.n_predicted for row in rows)
    assert {raw.n_reference} == {row.n_reference for row in [raw, *rows]}


@settings(max_examples=40)
@given(tiles(), tiles(), st.lists(gates(), min_size=1, max_size=3))
def test_sweep_of_many_tiles_is_that_of_each(
    one: tuple[np.ndarray, np.ndarray, np.ndarray],
    other: tuple[np.ndarray, np.ndarray, np.ndarray],
    gates: list[Gate],
) -> None:
    """Tiles put together do not touch each other's counts, whatever the order of cells."""
    tables = [measure(one, gates), measure(other, gates, tile_id="t1", marker="NeuN")]
    cells = pd.concat([table.cells for table in tables[::-1]], ignore_index=True)
    whole = pd.concat([table.tiles for table in tables], ignore_index=True)

    expected = [sweep_gates(table.cells, table.tiles, gates, 0.5) for table in tables]
    actual = sweep_gates(cells, whole, gates, 0.5)
    pd.testing.assert_frame_equal(pd.concat(expected, ignore_index=True), actual)


@settings(max_examples=40)
@given(tiles(), st.lists(gates(), min_size=1, max_size=3))
def test_sweep_may_ask_for_more_overlap_than_was_measured(
    tile: tuple[np.ndarray, np.ndarray, np.ndarray], gates: list[Gate]
) -> None:
    """Pairs measured at a low threshold serve every higher one."""
    low, high = measure(tile, gates, 0.2), measure(tile, gates, 0.6)

    expected = sweep_gates(high.cells, high.tiles, gates, 0.6)
    pd.testing.assert_frame_equal(expected, sweep_gates(low.cells, low.tiles, gates, 0.6))


def test_sweep_by_area_alone_does_not_mind_nan_pixels() -> None:
    """A mean of NaN would fail every comparison and remove the cell."""
    labels = np.ones((4, 4), dtype=int)
    image = np.full((2, 4, 4), np.nan)
    table = measure((labels, labels, image), [Gate(min_area_px=2)])

    assert [1] == sweep_gates(table.cells, table.tiles, [Gate(min_area_px=2)], 0.5).tp.tolist()


def test_sweep_refuses_what_was_not_measured() -> None:
    """Another quantile, a lower threshold, half the cells or a tile twice: each is named."""
    labels = np.arange(1, 5).reshape(2, 2)
    table = measure((labels, labels, np.zeros((2, 2, 2))), [])

    def sweep(cells: pd.DataFrame, tiles: pd.DataFrame, iou: float = 0.5, **limits: float) -> None:
        sweep_gates(cells, tiles, [Gate(**limits)], iou)  # type: ignore[arg-type]

    with pytest.raises(ScoringError, match=r"tile t0 has no marker_q_0\.25"):
        sweep(table.cells, table.tiles, min_marker_quantile=0.25)
    with pytest.raises(ScoringError, match=r"at most 0\.4, found 0\.5 in 1 tiles"):
        sweep(table.cells, table.tiles, iou=0.4)
    with pytest.raises(ScoringError, match="not so for t0"):
        sweep(table.cells.iloc[1:], table.tiles)
    with pytest.raises(ScoringError, match="once with all its cells"):
        sweep(table.cells, pd.concat([table.tiles, table.tiles]))
    with pytest.raises(ScoringError, match="not so for tiles of one"):
        sweep(table.cells, table.tiles.assign(tile_id="t9", n_predicted=0))


def test_list_gates_leaves_out_the_impossible() -> None:
    """Each combination once, no limits first, none with a smallest limit above the largest."""
    grid = GateGrid(
        min_area_px=[50, 20],
        max_area_px=[30, None],
        min_marker_quantile=[None, 0.5],
        max_marker_quantile=[0.25],
    )
    expected = [
        Gate(),
        Gate(min_area_px=50, max_marker_quantile=0.25),
        Gate(min_area_px=20, max_area_px=30, max_marker_quantile=0.25),
        Gate(min_area_px=20, max_marker_quantile=0.25),
    ]

    assert expected == list_gates(grid)
    assert [0.25] == gate_quantiles(expected)


def test_list_gates_of_the_default_grid_has_no_gate_first() -> None:
    """7 x 5 x 4 gates, all different, all possible."""
    found = list_gates(GateGrid())

    assert Gate() == found[0]
    assert 7 * 5 * 4 == len(set(found)) == len(found)
    assert [0.5, 0.75, 0.9] == gate_quantiles(found)


def test_gate_table_shows_a_gate_that_is_off_as_missing() -> None:
    """A row a gate, in order, with its place."""
    actual = gate_table(GATES)

    assert [0, 1, 2, 3] == actual.gate.tolist()
    assert actual.iloc[0, 1:].isna().all()
    assert [30, 900] == actual.loc[3, ["min_area_px", "max_area_px"]].tolist()


def test_choose_gates_takes_the_best_on_val() -> None:
    """Per marker the gate with the highest pooled F1; raw and gated F1 stand side by side."""
    swept = _swept(
        GFAP=[("val", 0, 8, 8, 2), ("val", 1, 8, 8, 2), ("val", 2, 8, 2, 2), ("val", 3, 4, 0, 6)],
        OLIG2=[("val", 0, 8, 0, 2), ("val", 1, 8, 0, 2), ("val", 2, 2, 0, 8), ("val", 3, 2, 0, 8)],
    )
    chosen = choose_gates(swept, GATES).set_index("marker")

    assert [2, 0] == chosen.gate.tolist()
    assert [30, True] == [chosen.min_area_px["GFAP"], np.isnan(chosen.min_area_px["OLIG2"])]
    assert [16 / 26, 16 / 18] == chosen.val_f1_pooled_raw.tolist()
    assert [0.8, 16 / 18] == chosen.val_f1_pooled_gated.tolist()
    assert [1, 1] == chosen.n_val_tiles.tolist()


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_choose_gates_does_not_see_test(seed: int) -> None:
    """Whatever the counts on test, and in whatever order rows come, the choice is the same."""
    rng = np.random.default_rng(seed)
    rows = [(split, gate) for split in ("val", "test", "train") for gate in range(4)]
    counts = [(*row, *rng.integers(0, 4, size=3)) for row in rows]
    others = [(*row, *rng.integers(0, 50, size=3)) for row in rows if row[0] != "val"]
    expected = choose_gates(_swept(GFAP=counts), GATES)
    shuffled = _swept(GFAP=counts[:4] + others).sample(frac=1, random_state=seed)

    pd.testing.assert_frame_equal(expected, choose_gates(shuffled, GATES))


@pytest.mark.parametrize(
    ("counts", "gate"),
    [
        # Gate 1 changes nothing: no gate is as good and simpler.
        ([(8, 2, 2), (8, 2, 2), (6, 1, 4), (6, 1, 4)], 0),
        # Gates 2 and 3 are equal: the one with fewer limits.
        ([(8, 8, 2), (8, 8, 2), (8, 2, 2), (8, 2, 2)], 2),
        # Equal F1 of 0.8 with 10 and with 5 cells left: the one that removes less.
        ([(8, 9, 2), (8, 9, 2), (4, 1, 1), (8, 2, 2)], 3),
    ],
)
def test_choose_gates_of_equal_ones_removes_least(
    counts: list[tuple[int, int, int]], gate: int
) -> None:
    """A gate has to earn what it takes away."""
    swept = _swept(GFAP=[("val", place, *row) for place, row in enumerate(counts)])

    assert [gate] == choose_gates(swept, GATES).gate.tolist()


def test_choose_gates_leaves_a_marker_without_val_tiles_alone() -> None:
    """NeuN has tiles in test only, so nothing supports a gate."""
    swept = _swept(NeuN=[("test", gate, 1, 9 * (gate == 0), 0) for gate in range(4)])
    row = choose_gates(swept, GATES).iloc[0]

    assert (0, 0) == (row.gate, row.n_val_tiles)
    assert np.isnan([row.val_f1_pooled_raw, row.val_f1_pooled_gated]).all()


def test_choose_gates_refuses_test_and_a_list_without_no_gate() -> None:
    """The choice would be made on what it is to be judged by, or be compared with nothing."""
    swept = _swept(GFAP=[("val", 0, 1, 1, 1)])

    with pytest.raises(ScoringError, match="chosen on val, got test"):
        choose_gates(swept, GATES, split="test")
    with pytest.raises(ScoringError, match="one without limits"):
        choose_gates(swept, GATES[1:])
