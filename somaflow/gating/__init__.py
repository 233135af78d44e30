"""Which predicted cells to keep, by size and marker intensity, and which gate is best."""

from somaflow.gating.gate import (
    MarkerLimits,
    gate_labels,
    has_marker_limit,
    keep_cells,
    marker_limits,
)
from somaflow.gating.grid import choose_gates, gate_quantiles, gate_table, list_gates, sweep_gates
from somaflow.gating.pairs import GateTable, measure_gate_pairs
from somaflow.gating.removed import describe_removed

__all__ = [
    "GateTable",
    "MarkerLimits",
    "choose_gates",
    "describe_removed",
    "gate_labels",
    "gate_quantiles",
    "gate_table",
    "has_marker_limit",
    "keep_cells",
    "list_gates",
    "marker_limits",
    "measure_gate_pairs",
    "sweep_gates",
]
