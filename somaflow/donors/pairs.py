"""Spearman's rho of two segmentations in the same resamples of donors.

Enters: donor values of two segmentations on the same donors, with gaps, and traits. Leaves: arrays
(2 segmentations, columns, traits) of rho, its interval, variance and consistency of sign, and
arrays (columns, traits) of what differs. Refuses: nothing; what has too few donors stays NaN.

A donor counts in a pair of columns where both segmentations, the trait and all covariates are
known. All that is drawn is drawn alike for both segmentations, so what a resample does to both
cancels in their difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from somaflow.donors.bca import bca_intervals
from somaflow.donors.estimates import MIN_DONORS, Draws
from somaflow.donors.ranks import Floats, rho_of_counts
from somaflow.donors.resampling import leave_one_out

BOTH = np.arange(2)
_Z95 = special.ndtri(0.975)
# Resamples of a block: 32 MB, a few times over.
_BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Pair:
    """Columns of two segmentations and traits, a place a donor."""

    values: Floats
    """(2, C, N), baseline and fine-tuned, NaN in both where either is undefined."""
    traits: Floats
    """(T, N), NaN where the trait or a covariate is missing."""
    covariates: Floats | None
    """(K, N); None for plain rho."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(2, C, T), of what is estimated."""
        return 2, self.values.shape[1], len(self.traits)

    @property
    def n_covariates(self) -> int:
        """K."""
        return 0 if self.covariates is None else len(self.covariates)


@dataclass(frozen=True)
class Block:
    """Columns and traits that have the same donors."""

    columns: NDArray[np.int64]
    traits: NDArray[np.int64]
    donors: NDArray[np.int64]

    def rho(self, pair: Pair, counts: np.ndarray) -> Floats:
        """(B, 2, F, T) rho under counts (B, n) of the block's donors."""
        features = pair.values[:, self.columns][:, :, self.donors].reshape(-1, len(self.donors))
        traits = pair.traits[self.traits][:, self.donors]
        rho = rho_of_counts(features, traits, take_donors(pair.covariates, self.donors), counts)
        return rho.reshape(len(counts), 2, len(self.columns), len(self.traits))


def find_blocks(pair: Pair, largest: int) -> Iterator[Block]:
    """Yields all columns and traits that have enough donors, `largest` columns at most in each."""
    for columns, traits, donors in patterns(~np.isnan(pair.values[0]), ~np.isnan(pair.traits)):
        if len(donors) >= MIN_DONORS + pair.n_covariates:
            for start in range(0, len(columns), largest):
                yield Block(columns[start : start + largest], traits, donors)


def patterns(
    rows: NDArray[np.bool_], traits: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yields rows, traits and their donors, for each set of donors that some of both have."""
    for members, known in _sets(rows):
        for trait_members, trait_known in _sets(traits):
            yield members, trait_members, np.flatnonzero(known & trait_known)


def _sets(
    known: NDArray[np.bool_],
) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    _, first, group = np.unique(
        np.packbits(known, axis=1), axis=0, return_index=True, return_inverse=True
    )
    return [(np.flatnonzero(group == i), known[row]) for i, row in enumerate(first)]


def describe_resamples(pair: Pair, draws: Draws) -> dict[str, Floats]:
    """Returns rho of the data and what the resamples of donors say of it.

    The difference is |rho fine-tuned| - |rho baseline|, with a BCa interval of paired resamples. A
    resample keeps the signs of the data: |rho| of each would be folded at 0, and the interval too
    wide where rho is small.

    The ratio of the variances over resamples (fine-tuned / baseline) has an interval of the
    infinitesimal jackknife, on the logarithm: how far the ratio itself would move with other
    donors (Efron 2014, doi:10.1080/01621459.2013.823775). What finitely many resamples add to it is
    taken off (Wager, Hastie & Efron 2014), but for one standard deviation: with a few thousand
    resamples the interval is too wide, and from 10,000 on near its level.

    Returns:
        (2, C, T): rho, rho_low, rho_high, variance, sign_consistency. (C, T): n, difference, ratio,
        and _low and _high of both.
    """
    both = ("rho", "rho_low", "rho_high", "variance", "sign_consistency")
    one = [f"{name}{end}" for name in ("difference", "ratio") for end in ("", "_low", "_high")]
    table = {name: np.full(pair.shape, np.nan) for name in both}
    table |= {name: np.full(pair.shape[1:], np.nan) for name in one}
    table["n"] = (~np.isnan(pair.values[0])).astype(float) @ (~np.isnan(pair.traits)).T
    for block in find_blocks(
        pair, max(1, _BLOCK_ENTRIES // (draws.n_resamples * 2 * len(pair.traits)))
    ):
        cells = np.ix_(block.columns, block.traits)
        for name, values in _describe_block(pair, block, draws).items():
            if name in both:
                table[name][np.ix_(BOTH, block.columns, block.traits)] = values
            else:
                table[name][cells] = values
    return table


def _describe_block(pair: Pair, block: Block, draws: Draws) -> dict[str, Floats]:
    n = len(block.donors)
    counts = draws.of(n)
    rho = block.rho(pair, np.ones((1, n)))[0]
    drawn, left_out = block.rho(pair, counts), block.rho(pair, leave_one_out(n))
    signs = np.where(rho < 0, -1.0, 1.0)
    difference = _difference(signs * rho[None])[0]
    row: dict[str, Floats] = {"rho": rho}
    row["rho_low"], row["rho_high"] = bca_intervals(rho, drawn, left_out)
    row["difference"] = difference
    row["difference_low"], row["difference_high"] = bca_intervals(
        difference, _difference(signs * drawn), _difference(signs * left_out)
    )
    row["sign_consistency"] = share_of_sign(drawn, rho)
    return row | _compare_variances(drawn, counts)


def _difference(rho: Floats) -> Floats:
    return rho[:, 1] - rho[:, 0]


def share_of_sign(drawn: Floats, rho: Floats) -> Floats:
    """Returns the share of resamples (B, ...) that have the sign of the estimates (...)."""
    n_defined = np.isfinite(drawn).sum(axis=0)
    agree = (np.sign(drawn) == np.sign(rho)).sum(axis=0)
    return np.divide(agree, n_defined, out=np.full(rho.shape, np.nan), where=n_defined > 0)


def find_variance(drawn: Floats) -> Floats:
    """Returns the variance over the first axis, of n - 1, NaN with fewer than two values."""
    return _spread(drawn)[1]


def _spread(drawn: Floats) -> tuple[Floats, Floats]:
    """Deviations from the mean, 0 where undefined, and the variance."""
    known = np.isfinite(drawn)
    n = known.sum(axis=0)
    mean = np.where(known, drawn, 0.0).sum(axis=0) / np.maximum(n, 1)
    away = np.where(known, drawn - mean, 0.0)
    variance = (away**2).sum(axis=0) / np.maximum(n - 1, 1)
    return away, np.where(n > 1, variance, np.nan)


def _compare_variances(drawn: Floats, counts: np.ndarray) -> dict[str, Floats]:
    """Variances (2, F, T), and their ratio with its interval."""
    n_draws, n_donors = counts.shape
    away, variance = _spread(drawn)
    positive = variance > 0
    scaled = np.divide(away**2, variance, out=np.zeros_like(away), where=positive)
    ratio = np.divide(
        variance[1], variance[0], out=np.full(variance[0].shape, np.nan), where=positive.all(axis=0)
    )
    # Of a resample, what it adds to the log of the ratio; then of a donor, by its covariance.
    added = scaled[:, 1] - scaled[:, 0]
    # 1.0, since counts come as unsigned bytes, of which 0 - 1 is 255.
    influence = (counts - 1.0).T @ added.reshape(n_draws, -1) / n_draws
    noise = added.var(axis=0) / n_draws
    total = (influence**2).sum(axis=0).reshape(noise.shape)
    left = np.maximum(total - n_donors * noise, 0.0)
    error = np.sqrt(left + np.sqrt(2 * n_donors) * noise)
    low, high = (ratio * np.exp(sign * _Z95 * error) for sign in (-1, 1))
    return {"variance": variance, "ratio": ratio, "ratio_low": low, "ratio_high": high}


def take_donors(covariates: Floats | None, donors: NDArray[np.int64]) -> Floats | None:
    """Returns the covariates of these donors."""
    return None if covariates is None else covariates[:, donors]
