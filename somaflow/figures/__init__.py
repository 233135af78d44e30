"""Pictures as PNG bytes: charts of scores, and overlays of cells on tiles."""

from somaflow.figures.comparison import draw_comparison, draw_comparison_rows
from somaflow.figures.curves import draw_budget_curve, draw_training
from somaflow.figures.diagnosis import draw_diagnosis
from somaflow.figures.gates import draw_gate_effect
from somaflow.figures.heatmaps import draw_threshold_maps
from somaflow.figures.operating_points import draw_precision_recall
from somaflow.figures.overlays import Panel, draw_overlay, draw_overlay_grid
from somaflow.figures.painting import PREDICTED_COLOUR, REFERENCE_COLOUR
from somaflow.figures.recipes import draw_recipe_scores

__all__ = [
    "PREDICTED_COLOUR",
    "REFERENCE_COLOUR",
    "Panel",
    "draw_budget_curve",
    "draw_comparison",
    "draw_comparison_rows",
    "draw_diagnosis",
    "draw_gate_effect",
    "draw_overlay",
    "draw_overlay_grid",
    "draw_precision_recall",
    "draw_recipe_scores",
    "draw_threshold_maps",
    "draw_training",
]
