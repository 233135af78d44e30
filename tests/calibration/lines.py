"""Lines of the report: what was found, what should be, and whether it is."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """One number with the range it must lie in."""

    part: str
    what: str
    value: float
    error: float
    """Standard error of `value` from finitely many simulations."""
    low: float = -np.inf
    high: float = np.inf
    as_share: bool = True
    """Whether it is told in per cent."""

    @property
    def holds(self) -> bool:
        """Whether the value lies in its range; NaN never does."""
        return bool(self.low <= self.value <= self.high)

    @property
    def has_range(self) -> bool:
        """Whether anything is asked of the value."""
        return bool(np.isfinite(self.low) or np.isfinite(self.high))

    def tell(self, number: float) -> str:
        """The number as this line tells its own."""
        return f"{100 * number:.1f} %" if self.as_share else f"{number:+.4f}"

    def tell_range(self) -> str:
        """The range in words."""
        if not self.has_range:
            return ""
        if not np.isfinite(self.low):
            return f"at most {self.tell(self.high)}"
        if not np.isfinite(self.high):
            return f"at least {self.tell(self.low)}"
        return f"{self.tell(self.low)} to {self.tell(self.high)}"

    def tell_verdict(self) -> str:
        """Holds, FAILS, or nothing where nothing is asked."""
        return ("holds" if self.holds else "**FAILS**") if self.has_range else ""


def share_line(
    part: str, what: str, hits: np.ndarray, low: float = -np.inf, high: float = np.inf
) -> Line:
    """The share of simulations that hit, with its binomial standard error.

    Args:
        part: of the report.
        what: the line's words.
        hits: (S,) bool.
        low: smallest share that holds.
        high: largest share that holds.
    """
    share = float(np.mean(hits))
    # Not 0 where all hit: one more simulation might not.
    held = (np.sum(hits) + 1) / (len(hits) + 2)
    return Line(part, what, share, float(np.sqrt(held * (1 - held) / len(hits))), low, high)


def capped_line(part: str, what: str, values: np.ndarray, cap: float) -> Line:
    """The mean of simulations, which may lie two standard errors above `cap`."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return Line(part, what, float(np.mean(values)), error, high=cap + 2 * error)
