"""Pictures as PNG bytes: overlays of cells on tiles."""

from somaflow.figures.overlays import (
    PREDICTED_COLOUR,
    REFERENCE_COLOUR,
    Panel,
    draw_overlay,
    draw_overlay_grid,
)

__all__ = [
    "PREDICTED_COLOUR",
    "REFERENCE_COLOUR",
    "Panel",
    "draw_overlay",
    "draw_overlay_grid",
]
