"""Which predicted cells to keep, by size and marker intensity."""

from somaflow.gating.gate import (
    MarkerLimits,
    gate_labels,
    has_marker_limit,
    keep_cells,
    marker_limits,
)

__all__ = ["MarkerLimits", "gate_labels", "has_marker_limit", "keep_cells", "marker_limits"]
