"""Tables about donors, as e5-donors makes them."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

MARKERS = ("GFAP", "IBA1", "NeuN", "OLIG2")
TRAITS = ("braaksc", "ceradsc", "cogdx", "dcfdx_lv", "plaq_d", "plaq_n", "nft", "gpath")
FEATURES = ("positive_density_per_mpx", "positive_fraction", "positive_area_fraction")
PHENOTYPES = ("p60", "p70", "p75", "p80", "p90", "otsu", "mixture")


def coverage(n_donors: int, markers: Sequence[str] = MARKERS, found: bool = True) -> pd.DataFrame:
    """53 tiles a donor and marker; of each seventh some are missing, of each 23rd all."""
    rows = []
    pairs = product(range(n_donors), markers)
    for number, (donor, marker) in enumerate(pairs):
        n_found = 0 if not found or number % 23 == 22 else 53 - 4 * (number % 7 == 6)
        n_refused = int(found and number % 14 == 6)
        n_segmented = max(0, n_found - n_refused)
        rows.append(
            {
                "donor": f"{900001 + 7919 * donor:08d}",
                "marker": marker,
                "n_expected": 53,
                "n_found": n_found,
                "n_refused": n_refused,
                "n_segmented": n_segmented,
                "n_quarantined": 0,
                "n_passing_quality": max(0, n_segmented - 5 * (number % 11 == 3)),
                "has_traits": donor % 17 != 5,
            }
        )
    return pd.DataFrame(rows)


def associations(
    recipes: Sequence[str] = ("hybrid-gated", "baseline"),
    markers: Sequence[str] = MARKERS,
    features: Sequence[str] = FEATURES,
    traits: Sequence[str] = TRAITS,
) -> pd.DataFrame:
    """Rho with intervals, a few of them significant."""
    rng = np.random.default_rng(0)
    rows = []
    for recipe, marker, feature, trait in product(recipes, markers, features, traits):
        rho = float(rng.normal(0, 0.2))
        rows.append(
            {
                "recipe": recipe,
                "marker": marker,
                "region": "all",
                "phenotype": "p75" if feature.startswith("positive") else "any",
                "feature": feature,
                "trait": trait,
                "n": 69 - len(trait) % 3,
                "rho": rho,
                "rho_low": rho - 0.22,
                "rho_high": rho + 0.2,
                "p": 0.01 if abs(rho) > 0.3 else 0.3,
                "q": 0.03 if abs(rho) > 0.3 else 0.6,
            }
        )
    return pd.DataFrame(rows)


def by_threshold(
    recipes: Sequence[str] = ("hybrid-gated", "baseline"),
    markers: Sequence[str] = MARKERS,
    phenotypes: Sequence[str] = PHENOTYPES,
) -> pd.DataFrame:
    """An association that weakens with the threshold, more so under the last recipe."""
    rows = []
    for (place, recipe), marker, (step, phenotype) in product(
        enumerate(recipes), markers, enumerate(phenotypes)
    ):
        rho = 0.42 - 0.03 * step - 0.12 * place
        rows.append(
            {
                "recipe": recipe,
                "marker": marker,
                "phenotype": phenotype,
                "feature": "positive_density_per_mpx",
                "trait": "braaksc",
                "rho": rho,
                "rho_low": rho - 0.21,
                "rho_high": rho + 0.19,
                "rho_sd": 0.03 + 0.01 * step + 0.02 * place,
                "sign_consistency": 1 - 0.02 * step,
                "share_q05": max(0.0, 0.9 - 0.12 * step - 0.2 * place),
            }
        )
    return pd.DataFrame(rows)
