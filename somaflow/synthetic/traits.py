"""A clinical table with known ties to cell density: what the analysis should find, and what not.

A trait is tied to a marker's density by a Gaussian copula. The donor's log density has a standard
normal latent z; the trait's latent is t = r z + sqrt(1 - r^2) e with e standard normal and free of
z. The table holds a monotone function of t, so only ranks matter. For two normal latents

    Spearman rho_s = 6 / pi * asin(r / 2),    so    r = 2 sin(pi rho_s / 6).

A trait cut into grades has ties. With shares p_k of the donors, midranks have 1 - sum(p_k^3) of the
variance of full ranks, and rho_s shrinks by its square root; r is raised to make up for that.
The rho stated is between a donor's true density (not the counted one) and the trait.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from somaflow.synthetic.donors import TRAIT_STREAM, Donor, make_rng

BRAAK_SHARES = (0.02, 0.07, 0.12, 0.29, 0.26, 0.20, 0.04)
CERAD_SHARES = (0.30, 0.33, 0.12, 0.25)
DIAGNOSIS_SHARES = (0.31, 0.20, 0.06, 0.34, 0.06, 0.03)
_APOE = (22, 23, 24, 33, 34, 44)
_APOE_SHARES = (0.01, 0.12, 0.02, 0.60, 0.22, 0.03)
_MISSING_SHARE = 0.04


@dataclass(frozen=True)
class Effect:
    """A tie between a marker's density and a trait."""

    marker: str
    trait: str
    rho: float
    """Spearman's, between the donor's true density and the trait as it stands in the table."""
    shares: tuple[float, ...] = ()
    """Shares of the trait's grades; empty for a continuous trait."""

    @property
    def latent_r(self) -> float:
        """Pearson's r of the two latents that gives `rho`."""
        kept = np.sqrt(1 - sum(share**3 for share in self.shares))
        return float(2 * np.sin(np.pi * self.rho / kept / 6))


EFFECTS = (
    Effect("GFAP", "plaq_n", rho=0.9),
    Effect("NeuN", "braaksc", rho=-0.85, shares=BRAAK_SHARES),
)
NULL_TRAITS = ("ceradsc", "cogdx", "dcfdx_lv", "plaq_d", "nft", "gpath")


def draw_traits(seed: int, donors: list[Donor]) -> pd.DataFrame:
    """The clinical table, one row a donor, with the columns and traps of the field's own.

    projid is a whole number without the leading zeros that folders have; age_death is text, "90+"
    above 90; ceradsc runs backwards (1 = definite); some values are missing.
    """
    table = pd.DataFrame([_draw_row(seed, donor) for donor in donors])
    for column in ("cts_mmse30_lv", "age_first_ad_dx", "cts_mmse30_first_ad_dx"):
        table[column] = table[column].astype("Float64")
    return table


def _draw_row(seed: int, donor: Donor) -> dict[str, object]:
    rng = make_rng(seed, TRAIT_STREAM, donor.index)
    cogdx = 1 + _grade(rng.standard_normal(), DIAGNOSIS_SHARES)
    row: dict[str, object] = {"projid": int(donor.projid)}
    row |= _draw_person(rng, cogdx)
    row |= {
        "pmi": round(float(np.exp(1.9 + 0.5 * rng.standard_normal())), 2),
        "braaksc": _grade(_tie(rng, donor, "braaksc"), BRAAK_SHARES),
        "ceradsc": 1 + _grade(rng.standard_normal(), CERAD_SHARES),
        "cogdx": cogdx,
        "dcfdx_lv": 1 + _grade(rng.standard_normal(), DIAGNOSIS_SHARES),
        "individualID": f"R{1_000_000 + donor.index}",
        "plaq_d": round(float(np.exp(0.8 * rng.standard_normal() - 0.6)), 6),
        "plaq_n": round(float(np.exp(0.7 * _tie(rng, donor, "plaq_n") - 0.4)), 6),
        "nft": round(float(np.exp(0.9 * rng.standard_normal() - 0.9)), 6),
        "gpath": round(float(np.exp(0.7 * rng.standard_normal() - 0.7)), 6),
    }
    for column in ("educ", "pmi", "plaq_d", "nft", "cts_mmse30_lv"):
        if rng.random() < _MISSING_SHARE:
            row[column] = None
    return row


def _draw_person(rng: np.random.Generator, cogdx: int) -> dict[str, object]:
    """Columns that come before the pathology, tied to nothing but each other."""
    has_dementia = cogdx in (4, 5)
    age_death = float(np.clip(rng.normal(88.5, 5.5), 68, 106))
    age_dx = age_death - float(rng.uniform(0.5, 8))
    mmse_last = int(np.clip(rng.normal(14 if has_dementia else 27, 4), 0, 30))
    mmse_dx = int(np.clip(mmse_last + rng.integers(0, 9), 0, 30))
    return {
        "Study": str(rng.choice(["ROS", "MAP"])),
        "msex": int(rng.random() < 0.35),
        "educ": int(np.clip(np.rint(rng.normal(16, 3.3)), 6, 28)),
        "race": 1 if rng.random() < 0.95 else 2,
        "spanish": 1 if rng.random() < 0.03 else 2,
        "apoe_genotype": int(rng.choice(_APOE, p=_APOE_SHARES)),
        "age_at_visit_max": _hide_high_age(age_death - float(rng.uniform(0.1, 1.4))),
        "age_first_ad_dx": min(round(age_dx, 2), 90.0) if has_dementia else None,
        "age_death": _hide_high_age(age_death),
        "cts_mmse30_first_ad_dx": mmse_dx if has_dementia else None,
        "cts_mmse30_lv": mmse_last,
    }


def _hide_high_age(age: float) -> str:
    """Years as text; above 90 just "90+", which is how the field keeps the very old unknown."""
    return "90+" if age > 90 else f"{age:.2f}"


def _tie(rng: np.random.Generator, donor: Donor, trait: str) -> float:
    """The trait's standard normal latent, tied to the density that `EFFECTS` names."""
    noise = float(rng.standard_normal())
    effect = next(effect for effect in EFFECTS if effect.trait == trait)
    r = effect.latent_r
    return r * donor.density_latents[effect.marker] + float(np.sqrt(1 - r * r)) * noise


def _grade(latent: float, shares: tuple[float, ...]) -> int:
    """Grade 0, 1, ... of a standard normal latent, cut so that grades have the given shares."""
    cuts: NDArray[np.float64] = stats.norm.ppf(np.cumsum(shares)[:-1])
    return int(np.searchsorted(cuts, latent))
