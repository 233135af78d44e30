"""rho, its interval and p for all pairs of features and traits, group by group.

Enters: columns on the same donors, with gaps. Leaves: arrays (features, traits). Pairs are grouped
by the donors that have both columns: there are few patterns, since donors lack tiles or a visit,
and almost all of the work is then done for a whole group at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from somaflow.donors.bca import bca_intervals
from somaflow.donors.columns import Columns
from somaflow.donors.ranks import Floats, rho_of_counts, spearman
from somaflow.donors.resampling import draw_counts, leave_one_out

MIN_DONORS = 4
"""Donors a rho takes, and one more for each covariate."""
# Resamples of a block of features: 64 MB.
_BLOCK_ENTRIES = 8_000_000
_REDUNDANT = "repeats other covariates"


@dataclass(frozen=True)
class Draws:
    """The resamples of an analysis, drawn once for each number of donors."""

    n_resamples: int
    seed: int
    _drawn: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuses a bad number before any work is done."""
        draw_counts(1, self.n_resamples, self.seed)

    def of(self, n_donors: int) -> np.ndarray:
        """Returns (B, n) whole counts, of the smallest dtype: there may be dozens of n."""
        if n_donors not in self._drawn:
            counts = draw_counts(n_donors, self.n_resamples, self.seed)
            self._drawn[n_donors] = counts.astype(np.min_scalar_type(n_donors))
        return self._drawn[n_donors]


class Estimates:
    """Arrays (F, T), without numbers to start with."""

    def __init__(self, n_features: int, n_traits: int) -> None:
        """Makes room for so many features and traits."""
        shape = (n_features, n_traits)
        self.n: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)
        self.rho, self.rho_low, self.rho_high, self.p = (np.full(shape, np.nan) for _ in range(4))
        self.status: NDArray[np.object_] = np.full(shape, "", dtype=object)


@dataclass(frozen=True)
class _Group:
    """Features and traits that have the same complete donors."""

    features: NDArray[np.int64]
    traits: NDArray[np.int64]
    donors: NDArray[np.bool_]


def estimate(x: Columns, y: Columns, covariates: Columns | None, draws: Draws) -> Estimates:
    """Returns rho, interval and p of every feature and trait, and why some have none.

    Args:
        x: F features.
        y: T traits of the same donors.
        covariates: of the same donors; None for plain rho.
        draws: the resamples.
    """
    table = Estimates(len(x.names), len(y.names))
    for group in _groups(x.values, y.values, covariates):
        _fill(table, group, x.values, y.values, covariates, draws)
    for feature, problem in enumerate(x.problems):
        if problem:
            table.status[feature] = f"feature {problem}"
    for trait, problem in enumerate(y.problems):
        if problem:
            table.status[:, trait] = f"trait {problem}"
    return table


def _groups(x: Floats, y: Floats, covariates: Columns | None) -> Iterator[_Group]:
    there = np.ones(x.shape[1], dtype=np.bool_)
    if covariates is not None:
        there &= ~np.isnan(covariates.values).any(axis=0)
    x_patterns, x_group = np.unique(~np.isnan(x), axis=0, return_inverse=True)
    y_patterns, y_group = np.unique(~np.isnan(y), axis=0, return_inverse=True)
    for i, x_pattern in enumerate(x_patterns):
        for j, y_pattern in enumerate(y_patterns):
            features, traits = np.flatnonzero(x_group == i), np.flatnonzero(y_group == j)
            yield _Group(features, traits, x_pattern & y_pattern & there)


def _fill(
    table: Estimates, group: _Group, x: Floats, y: Floats, covariates: Columns | None, draws: Draws
) -> None:
    """Writes the group's cells, features in blocks that bound memory."""
    n = int(group.donors.sum())
    cells = np.ix_(group.features, group.traits)
    table.n[cells] = n
    taken_out, note = _independent(covariates, group.donors)
    n_needed = MIN_DONORS + (0 if taken_out is None else len(taken_out))
    if n < n_needed:
        table.status[cells] = f"{n} donor{'s' if n != 1 else ''}, {n_needed} needed"
        return
    traits = y[group.traits][:, group.donors]
    size = max(1, _BLOCK_ENTRIES // (draws.n_resamples * len(traits)))
    for start in range(0, len(group.features), size):
        block = group.features[start : start + size]
        features = x[block][:, group.donors]
        cells = np.ix_(block, group.traits)
        rho = spearman(features, traits, taken_out)
        resampled = rho_of_counts(features, traits, taken_out, draws.of(n))
        left_out = rho_of_counts(features, traits, taken_out, leave_one_out(n))
        table.rho[cells] = rho
        table.rho_low[cells], table.rho_high[cells] = bca_intervals(rho, resampled, left_out)
        table.p[cells] = two_sided_p(rho, n + 2 - n_needed)
        table.status[cells] = _describe(rho, features, traits, taken_out, note)


def two_sided_p(rho: Floats, degrees: int) -> Floats:
    """Returns the p of Student's t for a correlation, as scipy; `degrees` = n - 2 - covariates."""
    with np.errstate(divide="ignore"):
        t = rho * np.sqrt(degrees / ((1 + rho) * (1 - rho)))
    return np.asarray(2 * special.stdtr(degrees, -np.abs(t)))


def _independent(
    covariates: Columns | None, donors: NDArray[np.bool_]
) -> tuple[Floats | None, str]:
    """Returns the covariates that say something of these donors, and which ones do not."""
    if covariates is None:
        return None, ""
    kept: Floats = np.empty((0, int(donors.sum())))
    notes = []
    for name, values in zip(covariates.names, covariates.values[:, donors], strict=True):
        if _is_explained(values, kept):
            constant = _is_explained(values, None)
            notes.append(f"{name} {'is constant' if constant else _REDUNDANT}, left out")
        else:
            kept = np.vstack([kept, values])
    return kept, "; ".join(notes)


def _is_explained(column: Floats, covariates: Floats | None) -> bool:
    """Whether nothing is left of a column: its rho with itself does not exist."""
    return bool(np.isnan(spearman(column[None], column[None], covariates)).all())


def _describe(
    rho: Floats, features: Floats, traits: Floats, covariates: Floats | None, note: str
) -> NDArray[np.object_]:
    """Returns (F, T) words: what was left out of the covariates, or why there is no rho."""
    status: NDArray[np.object_] = np.full(rho.shape, note, dtype=object)
    undefined = np.isnan(rho)
    for i in np.flatnonzero(undefined.all(axis=1)):
        if reason := _why_undefined(features[i], covariates):
            status[i] = f"feature {reason}"
    for j in np.flatnonzero(undefined.all(axis=0)):
        if reason := _why_undefined(traits[j], covariates):
            status[:, j] = f"trait {reason}"
    return status


def _why_undefined(column: Floats, covariates: Floats | None) -> str:
    if _is_explained(column, None):
        return "is constant"
    return "is explained by the covariates" if _is_explained(column, covariates) else ""
