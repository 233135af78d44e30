"""Agreement of two segmentations and their paired difference, against what was simulated."""

import numpy as np
import pandas as pd

from somaflow.donors.agreement import intraclass_correlations
from somaflow.donors.estimates import Draws
from somaflow.donors.pairs import Pair, describe_resamples
from somaflow.donors.power import attenuate
from tests.calibration.associations import Size
from tests.calibration.donors import N_DONORS, latent_r, tied_to
from tests.calibration.lines import Line, share_line

ICCS = (0.5, 0.8, 0.95)
SHIFT = 0.5
"""Of the second segmentation, in standard deviations of its values."""
RELIABILITY = 0.8
"""Of the donor values of two equally good segmentations; it is also their ICC."""
WORSE, BETTER, RHO = 0.2, 0.95, 0.6
RHOS = (0.0, 0.3, 0.6)
FEWER = 5
"""Times fewer simulations, and more resamples, of what needs many resamples."""


def check_agreement(size: Size) -> list[Line]:
    """Bias of both ICC and coverage of their intervals."""
    rng = size.rng(4)
    lines = []
    names = [str(simulation) for simulation in range(size.simulations)]
    for icc in ICCS:
        for shift in (0.0, SHIFT):
            true = rng.standard_normal((N_DONORS, size.simulations)) * np.sqrt(icc)
            noise = rng.standard_normal((2, *true.shape)) * np.sqrt(1 - icc)
            ratings = true + noise + np.array([0.0, shift])[:, None, None]
            table = intraclass_correlations(ratings, names)
            # Two fixed segmentations: their means add shift^2 / 2 to the variance that counts.
            for name, truth in (("icc2", icc / (1 + shift**2 / 2)), ("icc3", icc)):
                lines += _describe_icc(name, truth, shift, table)
    return lines


def _describe_icc(name: str, truth: float, shift: float, table: pd.DataFrame) -> list[Line]:
    found, low, high = (np.asarray(table[f"{name}{end}"]) for end in ("", "_low", "_high"))
    what = f"{'ICC(2,1)' if name == 'icc2' else 'ICC(3,1)'} {truth:.3f}" + (
        f", shifted by {shift:g} sd" if shift else ""
    )
    error = float(found.std(ddof=1) / np.sqrt(len(found)))
    bias = Line(
        "agreement",
        f"{what}: mean estimate minus truth",
        float(found.mean() - truth),
        error,
        -0.01 - 2 * error,
        0.01 + 2 * error,
        as_share=False,
    )
    # With a fixed shift the interval of ICC(2,1) allows for segmentations drawn at random.
    highest = 1.0 if name == "icc2" and shift else 0.97
    holds = (low <= truth) & (high >= truth)
    return [bias, share_line("agreement", f"{what}: interval holds it", holds, 0.93, highest)]


def check_differences(size: Size) -> list[Line]:
    """Paired differences of |rho|: false alarms, coverage, and what is found."""
    found = _simulate(size, 5)
    low, high = found["difference_low"], found["difference_high"]
    lines = []
    for place, rho in enumerate(RHOS):
        holds = (low[:, place] <= 0) & (high[:, place] >= 0)
        what = f"equally good, rho {rho:g}: difference holds 0"
        lines.append(share_line("pairs", what, holds, 0.93, 0.985))
    truth = float(np.diff(_noisy_rho([WORSE, BETTER]))[0])
    holds = (low[:, -1] <= truth) & (high[:, -1] >= truth)
    what = f"true difference {truth:.3f}"
    lines.append(share_line("pairs", f"{what}: interval holds it", holds, 0.93, 0.97))
    lines.append(share_line("pairs", f"{what}: found to be stronger", low[:, -1] > 0, low=0.75))
    return lines


def check_variances(size: Size) -> list[Line]:
    """Ratios of variances of equally good segmentations; fewer, with more resamples each."""
    fewer = Size(max(2, size.simulations // FEWER), size.resamples * FEWER, size.seed)
    found = _simulate(fewer, 6)
    low, high = found["ratio_low"], found["ratio_high"]
    return [
        share_line(
            "pairs",
            f"equally good, rho {rho:g}: ratio of variances holds 1 ({fewer.simulations} "
            f"simulations, {fewer.resamples} resamples)",
            (low[:, place] <= 1) & (high[:, place] >= 1),
            0.93,
            0.985,
        )
        for place, rho in enumerate(RHOS)
    ]


def _simulate(size: Size, part: int) -> dict[str, np.ndarray]:
    """(S, columns) ends of the intervals of `compare_stability`."""
    rng, draws = size.rng(part), Draws(size.resamples, size.seed)
    names = [f"{what}_{end}" for what in ("difference", "ratio") for end in ("low", "high")]
    found = {name: np.empty((size.simulations, len(RHOS) + 1)) for name in names}
    for simulation in range(size.simulations):
        trait = rng.standard_normal(N_DONORS)
        table = describe_resamples(_draw_pair(rng, trait), draws)
        for name in names:
            found[name][simulation] = table[name][:, 0]
    return found


def _draw_pair(rng: np.random.Generator, trait: np.ndarray) -> Pair:
    """Columns at each rho, equally good; then one where the second segmentation is better."""
    qualities = [*[(RELIABILITY, RELIABILITY)] * len(RHOS), (WORSE, BETTER)]
    columns = []
    for rho, pair in zip([*RHOS, RHO], qualities, strict=True):
        true = tied_to(rng, trait, latent_r(rho, graded=False))
        columns.append([tied_to(rng, true, float(np.sqrt(quality))) for quality in pair])
    return Pair(np.array(columns).swapaxes(0, 1), trait[None], None)


def _noisy_rho(reliability: list[float]) -> np.ndarray:
    """Population Spearman rho of values of that reliability with the trait of rho `RHO`."""
    return 6 / np.pi * np.arcsin(attenuate(latent_r(RHO, graded=False), reliability) / 2)
