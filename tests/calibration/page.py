"""The page of the report: every sentence of it follows from the numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.calibration.associations import N_FEATURES, N_TRUE, SHARED_R, TRUE_RHO, Size
from tests.calibration.donors import GRADES, N_DONORS
from tests.calibration.lines import Line
from tests.calibration.segmentations import BETTER, RELIABILITY, RHO, WORSE

_PARTS = {
    "intervals": (
        "Intervals of rho",
        "Share of 95 % BCa intervals, as `associate` gives them, that hold the population's rho.",
    ),
    "discoveries": (
        "False discoveries",
        f"{N_FEATURES} features that resemble each other (r {SHARED_R**2:.2f}) and one trait; "
        f"{N_TRUE} of them are tied to it by rho {TRUE_RHO:g}, or none. Found is q < .05, as in "
        "`associate`. Limits are .05 and two standard errors.",
    ),
    "power": (
        "Power",
        "Share of simulations with p < .05, which must be within 3 points of `find_power` "
        "(Fisher's z with the variance of Bonett and Wright).",
    ),
    "agreement": (
        "Agreement of two segmentations",
        "Bias, for which 0.01 and two standard errors are allowed, and intervals of intraclass "
        "correlations. A fixed shift between two segmentations is not one drawn at random, as the "
        "interval of ICC(2,1) supposes: it may hold the truth more often.",
    ),
    "pairs": (
        "Two segmentations against the same trait",
        f"Both see donors with a reliability of {RELIABILITY:g} (so does ICC(3,1)), or one of "
        f"{WORSE:g} and the other of {BETTER:g} where the true rho is {RHO:g}. Intervals are those "
        "of `compare_stability`; they may be a little wide, up to 98.5 %.",
    ),
}


def write_page(
    lines: Sequence[Line], size: Size, machine: Mapping[str, Any], day: str, seconds: float
) -> str:
    """Returns the page as Markdown.

    Args:
        lines: of all parts.
        size: how much was simulated.
        machine: from `describe_machine`.
        day: of the run.
        seconds: the run took.
    """
    libraries = machine["libraries"]
    paragraphs = [
        "# Calibration of the donor statistics",
        "Donors are simulated whose truth is known: does what somaflow says of them hold as often "
        "as it claims? This page is written by",
        "```\npython -m tests.calibration --out docs/calibration.md\n```",
        f"{size.simulations} simulations of {N_DONORS} donors a line, {size.resamples} bootstrap "
        f"resamples, seed {size.seed}; {seconds:.0f} s on {machine['cores']} cores of "
        f"{machine['cpu']}, {day}, numpy {libraries['numpy']}, scipy {libraries['scipy']}. "
        "Features and traits are tied by a Gaussian copula; a graded trait has five grades of "
        f"{', '.join(f'{100 * share:.0f}' for share in GRADES)} % of donors, and its population "
        "rho is by formula. ± is the standard error of finitely many simulations.",
        _summarise(lines),
    ]
    for part, (title, words) in _PARTS.items():
        own = [line for line in lines if line.part == part]
        if own:
            paragraphs += [f"## {title}", words, _tabulate(own), *_explain(part, own)]
    return "\n\n".join(paragraphs) + "\n"


def _summarise(lines: Sequence[Line]) -> str:
    asked = [line for line in lines if line.has_range]
    failing = [line for line in asked if not line.holds]
    if not failing:
        return f"**All {len(asked)} lines that have a range hold.**"
    named = "; ".join(f"{line.what} ({line.tell(line.value)})" for line in failing)
    return f"**{len(failing)} of {len(asked)} lines FAIL: {named}.**"


def _tabulate(lines: Sequence[Line]) -> str:
    rows = [
        f"| {line.what} | {line.tell(line.value)} ± {line.tell(line.error).lstrip('+')} "
        f"| {line.tell_range()} | {line.tell_verdict()} |"
        for line in lines
    ]
    return "\n".join(["| | found | must be | |", "|---|---|---|---|", *rows])


def _explain(part: str, lines: Sequence[Line]) -> list[str]:
    """What the numbers of a part say, if they say anything beyond their table."""
    if part != "intervals":
        return []
    short = [line for line in lines if line.value < 0.95 - 2 * line.error]
    long = [line for line in lines if line.value > 0.95 + 2 * line.error]
    words = []
    for some, more in (
        (short, "Short of 95 % by more than chance"),
        (long, "Above 95 % by more than chance"),
    ):
        if some:
            named = "; ".join(f"{line.what} ({line.tell(line.value - 0.95)})" for line in some)
            words.append(f"{more}: {named}.")
    return [" ".join(words) or "None differs from 95 % by more than two standard errors."]
