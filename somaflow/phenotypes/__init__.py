"""Which cells are positive for their marker, by each of the rules that the study compares.

Enters: the cell table and the tiles' quality table. Leaves: a column a rule, true, false or
missing. Labels and images are not touched again.
"""

from somaflow.phenotypes.calls import call_positive
from somaflow.phenotypes.mixture import Mixture, fit_mixture, fit_mixtures
from somaflow.phenotypes.thresholds import MIXTURE, PHENOTYPES

__all__ = [
    "MIXTURE",
    "PHENOTYPES",
    "Mixture",
    "call_positive",
    "fit_mixture",
    "fit_mixtures",
]
