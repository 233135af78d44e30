"""Intervals, discoveries and power of associations, against what was simulated."""

from dataclasses import dataclass

import numpy as np

from somaflow.donors.columns import Columns
from somaflow.donors.estimates import Draws, estimate, two_sided_p
from somaflow.donors.fdr import adjust_p
from somaflow.donors.power import find_power
from somaflow.donors.ranks import spearman
from tests.calibration.donors import N_DONORS, grade, latent_r, tied_to
from tests.calibration.lines import Line, capped_line, share_line

RHOS = (0.0, 0.3, 0.6)
POWER_RHOS = (0.2, 0.3, 0.4)
N_FEATURES, N_TRUE, TRUE_RHO, SHARED_R = 40, 8, 0.45, 0.3
_KINDS = ("continuous trait", "trait of 5 grades")


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    simulations: int
    resamples: int
    seed: int

    def rng(self, part: int) -> np.random.Generator:
        """Random numbers of one part of the report."""
        return np.random.default_rng([self.seed, part])


def check_intervals(size: Size) -> list[Line]:
    """Share of the 95 % BCa intervals of rho that hold the population's rho."""
    rng, draws = size.rng(1), Draws(size.resamples, size.seed)
    strength = np.array([[latent_r(rho, graded) for rho in RHOS] for graded in (False, True)])
    holds = np.zeros((size.simulations, 2, len(RHOS)), dtype=bool)
    for simulation in range(size.simulations):
        latent = rng.standard_normal(N_DONORS)
        for kind, trait in enumerate((latent, grade(latent))):
            features = np.array([tied_to(rng, latent, r) for r in strength[kind]])
            table = estimate(_columns(features), _columns(trait[None]), None, draws)
            low, high = table.rho_low[:, 0], table.rho_high[:, 0]
            holds[simulation, kind] = (low <= RHOS) & (high >= RHOS)
    return [
        share_line("intervals", f"{name}, rho {rho:g}", holds[:, kind, place], 0.93, 0.97)
        for kind, name in enumerate(_KINDS)
        for place, rho in enumerate(RHOS)
    ]


def check_discoveries(size: Size) -> list[Line]:
    """False discovery rate, and false alarms where nothing is there."""
    rng = size.rng(2)
    r = latent_r(TRUE_RHO, graded=False)
    lines = []
    for name, graded in zip(_KINDS, (False, True), strict=True):
        false_share, found_share = np.zeros((2, size.simulations))
        alarm = np.zeros(size.simulations)
        for simulation in range(size.simulations):
            latent = rng.standard_normal(N_DONORS)
            trait = grade(latent) if graded else latent
            # Features resemble each other, as those of one marker do.
            shared = tied_to(rng, np.tile(rng.standard_normal(N_DONORS), (N_FEATURES, 1)), SHARED_R)
            alarm[simulation] = _find(shared, trait).any()
            mixed = shared.copy()
            mixed[:N_TRUE] = r * latent + np.sqrt(1 - r * r) * shared[:N_TRUE]
            found = _find(mixed, trait)
            false_share[simulation] = found[N_TRUE:].sum() / max(1, found.sum())
            found_share[simulation] = found[:N_TRUE].mean()
        lines += [
            capped_line("discoveries", f"{name}: false among those found", false_share, 0.05),
            capped_line("discoveries", f"{name}: any found where none is true", alarm, 0.05),
            Line(
                "discoveries",
                f"{name}: true ones found",
                float(found_share.mean()),
                float(found_share.std(ddof=1) / np.sqrt(size.simulations)),
            ),
        ]
    return lines


def check_power(size: Size) -> list[Line]:
    """Share of simulations with p < .05, against what `find_power` says."""
    rng = size.rng(3)
    lines = []
    for name, graded in zip(_KINDS, (False, True), strict=True):
        found = np.zeros((size.simulations, len(POWER_RHOS)), dtype=bool)
        strength = [latent_r(rho, graded) for rho in POWER_RHOS]
        for simulation in range(size.simulations):
            latent = rng.standard_normal(N_DONORS)
            features = np.array([tied_to(rng, latent, r) for r in strength])
            seen = spearman(features, (grade(latent) if graded else latent)[None])
            found[simulation] = two_sided_p(seen, N_DONORS - 2)[:, 0] < 0.05
        for place, rho in enumerate(POWER_RHOS):
            theory = float(find_power(rho, N_DONORS))
            what = f"{name}, rho {rho:g}: found, {100 * theory:.1f} % by theory"
            hits = found[:, place]
            lines.append(share_line("power", what, hits, theory - 0.03, theory + 0.03))
    return lines


def _columns(values: np.ndarray) -> Columns:
    return Columns([f"x{place}" for place in range(len(values))], values, [""] * len(values))


def _find(features: np.ndarray, trait: np.ndarray) -> np.ndarray:
    """(F,) whether q < .05, by the parts that make p and q in `associate`."""
    p = two_sided_p(spearman(features, trait[None])[:, 0], N_DONORS - 2)
    return adjust_p(p) < 0.05
