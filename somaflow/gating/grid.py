"""Scores of many gates at once, from measured cells and pairs alone, and the best gate per marker.

Enters: a `GateGrid` and the tables of `measure_gate_pairs` for one recipe. Leaves: a row a tile and
gate with the counts that `gate_labels` and `count_matches` would give, and a chosen gate a marker.
Refuses: quantiles or IoU thresholds that were not measured; a choice made on test.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.matching import is_one_to_one, match_cells
from somaflow.evaluation.pooling import check_counts, pooled_metrics
from somaflow.gating.gate import MarkerLimits, has_marker_limit, keep_cells
from somaflow.gating.pairs import TILE_COLUMNS, quantile_column
from somaflow.recipes import Gate
from somaflow.settings import GateGrid

_LIMITS = ("min_area_px", "max_area_px", "min_marker_quantile", "max_marker_quantile")


def list_gates(grid: GateGrid) -> list[Gate]:
    """Returns every gate of the grid once; first the one that removes nothing, listed or not.

    Combinations whose smallest limit exceeds the largest would remove everything: left out.
    """
    gates = [Gate()]
    for limits in product(*(getattr(grid, name) for name in _LIMITS)):
        low_area, high_area, low_marker, high_marker = limits
        if not (_exceeds(low_area, high_area) or _exceeds(low_marker, high_marker)):
            gates.append(Gate(**dict(zip(_LIMITS, limits, strict=True))))
    return list(dict.fromkeys(gates))


def gate_quantiles(gates: Sequence[Gate]) -> list[float]:
    """Returns the marker quantiles that the gates ask for, ascending: what has to be measured."""
    limits = [(gate.min_marker_quantile, gate.max_marker_quantile) for gate in gates]
    return sorted({quantile for pair in limits for quantile in pair if quantile is not None})


def gate_table(gates: Sequence[Gate]) -> pd.DataFrame:
    """Returns a row a gate: gate (its place in the list) and its four limits, NaN where off."""
    table = pd.DataFrame([gate.model_dump() for gate in gates], columns=list(_LIMITS))
    table = table.astype(np.float64)
    table.insert(0, "gate", np.arange(len(gates)))
    return table


def sweep_gates(
    cells: pd.DataFrame, tiles: pd.DataFrame, gates: Sequence[Gate], iou_threshold: float
) -> pd.DataFrame:
    """Returns the counts of every tile under every gate.

    Each row equals ``count_matches(reference, gate_labels(labels, marker, gate), iou_threshold)``.

    Args:
        cells: of `measure_gate_pairs`, of one recipe; tiles put together.
        tiles: likewise, a row a tile; its order is kept.
        gates: from `list_gates`.
        iou_threshold: at least the one that pairs were measured with.

    Returns:
        A row a tile and gate: `TILE_COLUMNS`, the columns of `gate_table`, tp, fp, fn,
        n_reference, n_predicted (int64).

    Raises:
        ScoringError: if a quantile or the threshold was not measured, a tile is there twice, or
            cells are missing.
    """
    frames = []
    for tile, own in tiles_with_cells(cells, tiles, iou_threshold):
        keep = keep_by(gates, own, tile)
        cell, reference = pairs_of(own, iou_threshold)
        tp = _count_matched(keep, cell, reference)
        n_predicted, n_reference = keep.sum(axis=1), int(tile["n_reference"])
        counts = {"tp": tp, "fp": n_predicted - tp, "fn": n_reference - tp}
        totals = {"n_reference": n_reference, "n_predicted": n_predicted}
        names = {name: tile[name] for name in TILE_COLUMNS}
        frames.append(gate_table(gates).assign(**counts, **totals, **names))
    swept = pd.concat(frames, ignore_index=True)
    return swept[[*TILE_COLUMNS, *[name for name in swept if name not in TILE_COLUMNS]]]


def choose_gates(swept: pd.DataFrame, gates: Sequence[Gate], split: str = "val") -> pd.DataFrame:
    """Returns the gate with the best pooled F1 of each marker, chosen on val alone.

    Of equal gates the one that removes the fewest cells is taken, then the one with the fewest
    limits, so that no gate is preferred to one that changes nothing. A marker without tiles in the
    split gets no gate.

    Args:
        swept: from `sweep_gates`; rows of other splits are not looked at.
        gates: the same list; the gate that removes nothing must be among them.
        split: val, or train where there is no val; never test.

    Returns:
        A row a marker: marker, the columns of `gate_table` (``gates[row.gate]`` is the gate),
        val_f1_pooled_raw, val_f1_pooled_gated, n_val_tiles (named after the split).

    Raises:
        ScoringError: if the split is test, or no gate that removes nothing was swept.
    """
    if split == "test":
        raise ScoringError("gates must be chosen on val, got test; score the chosen gate on test")
    if Gate() not in gates:
        raise ScoringError(
            "gates must hold one without limits, to compare with; take them from list_gates"
        )
    check_counts(swept, ["marker", "split", "gate"])
    own = swept[swept["split"] == split]
    pooled = pooled_metrics(own, by=["marker", "gate"]) if len(own) else None
    rows = []
    for marker in sorted(swept["marker"].unique()):
        scored = None if pooled is None else pooled[pooled["marker"] == marker]
        rows.append({"marker": marker, **_choose(scored, gates, split)})
    chosen = pd.DataFrame(rows)
    table = chosen[["marker", "gate"]].merge(gate_table(gates), on="gate", how="left")
    return table.join(chosen.drop(columns=["marker", "gate"]))


def keep_by(gates: Sequence[Gate], cells: pd.DataFrame, tile: Mapping[Hashable, Any]) -> np.ndarray:
    """Returns which cells of one tile each gate keeps, (G, N) bool.

    Args:
        gates: G gates.
        cells: rows of `GateTable.cells` of the tile.
        tile: its row of `GateTable.tiles`.

    Raises:
        ScoringError: if a quantile of a gate was not measured.
    """
    area_px, marker_mean = cells["area_px"].to_numpy(), cells["marker_mean"].to_numpy()
    # A NaN pixel must not matter to a gate by area alone.
    no_mean = np.zeros(len(cells))
    return np.stack(
        [
            keep_cells(
                area_px,
                marker_mean if has_marker_limit(gate) else no_mean,
                gate,
                MarkerLimits(
                    _intensity(tile, gate.min_marker_quantile, -np.inf),
                    _intensity(tile, gate.max_marker_quantile, np.inf),
                ),
            )
            for gate in gates
        ]
    )


def pairs_of(cells: pd.DataFrame, iou_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cell (by place) and the reference label of each pair of one tile, both (K,)."""
    cell = np.repeat(np.arange(len(cells)), [len(partners) for partners in cells["ious"]])
    reference = np.array([label for row in cells["reference_labels"] for label in row], dtype=int)
    iou = np.array([value for row in cells["ious"] for value in row], dtype=np.float64)
    return cell[iou >= iou_threshold], reference[iou >= iou_threshold]


def tiles_with_cells(
    cells: pd.DataFrame, tiles: pd.DataFrame, iou_threshold: float
) -> Iterator[tuple[Mapping[Hashable, Any], pd.DataFrame]]:
    """Yields each tile's row with the rows of its cells, once both tables fit each other."""
    _check_tables(cells, tiles, iou_threshold)
    places = cells.groupby("tile_id", sort=False).indices
    none = np.empty(0, dtype=np.int64)
    for tile in tiles.to_dict("records"):
        yield tile, cells.iloc[places.get(str(tile["tile_id"]), none)]


def _check_tables(cells: pd.DataFrame, tiles: pd.DataFrame, iou_threshold: float) -> None:
    """Refuses tables that do not belong together, or were measured with a higher threshold.

    Raises:
        ScoringError: saying which tiles or which threshold.
    """
    if tiles.empty or tiles["iou_threshold"].max() > iou_threshold:
        raise ScoringError(
            f"pairs must be measured with an IoU threshold of at most {iou_threshold}, found "
            f"{tiles['iou_threshold'].max()} in {len(tiles)} tiles; measure them again"
        )
    found = cells["tile_id"].value_counts().reindex(tiles["tile_id"], fill_value=0)
    differ = tiles["tile_id"].to_numpy()[found.to_numpy() != tiles["n_predicted"].to_numpy()]
    if len(differ) or tiles["tile_id"].duplicated().any() or found.sum() != len(cells):
        raise ScoringError(
            "each tile must be there once with all its cells, as measured, not so for "
            f"{', '.join(map(str, differ[:5])) or 'tiles of one of the tables'}; "
            "put together the tables of one recipe"
        )


def _count_matched(keep: np.ndarray, cell: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the matched pairs of each gate, (G,) int64.

    Args:
        keep: (G, N) bool, which cells each gate keeps.
        cell: (K,) int64, the cell of each pair.
        reference: (K,) int64, the reference label of each pair.
    """
    kept_pairs = keep[:, cell]  # (G, K)
    if is_one_to_one(cell, reference):
        return kept_pairs.sum(axis=1)
    # Where a cell has two partners, the largest matching is sought once for gates that keep the
    # same pairs.
    patterns, which = np.unique(kept_pairs, axis=0, return_inverse=True)
    sizes = [match_cells(cell[kept], reference[kept], keep.shape[1]).sum() for kept in patterns]
    return np.array(sizes)[which.ravel()]


def _choose(pooled: pd.DataFrame | None, gates: Sequence[Gate], split: str) -> dict[str, object]:
    raw_gate = list(gates).index(Gate())
    if pooled is None or pooled.empty:
        gate, raw, gated, n_tiles = raw_gate, np.nan, np.nan, 0
    else:
        n_limits = [_count_limits(gates[place]) for place in pooled["gate"]]
        ranked = pooled.assign(n_limits=n_limits).sort_values(
            ["f1_pooled", "n_predicted", "n_limits", "gate"], ascending=[False, False, True, True]
        )
        gate, gated = int(ranked["gate"].iloc[0]), float(ranked["f1_pooled"].iloc[0])
        raw = float(pooled.loc[pooled["gate"] == raw_gate, "f1_pooled"].iloc[0])
        n_tiles = int(ranked["n_images"].iloc[0])
    return {
        "gate": gate,
        f"{split}_f1_pooled_raw": raw,
        f"{split}_f1_pooled_gated": gated,
        f"n_{split}_tiles": n_tiles,
    }


def _count_limits(gate: Gate) -> int:
    return sum(getattr(gate, name) is not None for name in _LIMITS)


def _intensity(tile: Mapping[Hashable, Any], quantile: float | None, off: float) -> float:
    if quantile is None:
        return off
    name = quantile_column(quantile)
    if name not in tile or pd.isna(tile[name]):
        raise ScoringError(
            f"a gate's marker quantile must have been measured, tile {tile['tile_id']} has no "
            f"{name}; measure it again with the quantiles of these gates"
        )
    return float(tile[name])


def _exceeds(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high
