"""Pictures as PNG bytes: charts of scores and of donors, and overlays of cells on tiles."""

from somaflow.figures.associations import draw_associations, draw_effects
from somaflow.figures.comparison import draw_comparison, draw_comparison_rows
from somaflow.figures.coverage import draw_coverage
from somaflow.figures.curves import draw_budget_curve, draw_training
from somaflow.figures.diagnosis import draw_diagnosis
from somaflow.figures.gates import draw_gate_effect
from somaflow.figures.heatmaps import draw_threshold_maps
from somaflow.figures.operating_points import draw_precision_recall
from somaflow.figures.overlays import Panel, draw_overlay, draw_overlay_grid
from somaflow.figures.painting import PREDICTED_COLOUR, REFERENCE_COLOUR
from somaflow.figures.pictures import Picture
from somaflow.figures.recipes import draw_recipe_scores
from somaflow.figures.stability import draw_stability

__all__ = [
    "PREDICTED_COLOUR",
    "REFERENCE_COLOUR",
    "Panel",
    "Picture",
    "draw_associations",
    "draw_budget_curve",
    "draw_comparison",
    "draw_comparison_rows",
    "draw_coverage",
    "draw_diagnosis",
    "draw_effects",
    "draw_gate_effect",
    "draw_overlay",
    "draw_overlay_grid",
    "draw_precision_recall",
    "draw_recipe_scores",
    "draw_stability",
    "draw_threshold_maps",
    "draw_training",
]
