"""In which share of resamples an association is found: q < .05 within its family.

Enters: a pair of segmentations and resamples, or p-values of resamples. Leaves: shares, or which
are found. Refuses: nothing; an undefined p is no test.

q is Benjamini and Hochberg's (doi:10.1111/j.2517-6161.1995.tb02031.x) in each resample and
segmentation by itself, for all of them at once: only whether it is below .05 is asked.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from somaflow.donors.estimates import Draws, two_sided_p
from somaflow.donors.pairs import BOTH, Pair, find_blocks
from somaflow.donors.ranks import Floats

ALPHA = 0.05
# p-values of a block of resamples: 32 MB, a few times over.
_BLOCK_ENTRIES = 4_000_000


def share_found(pair: Pair, draws: Draws, families: NDArray[np.int64]) -> Floats:
    """Returns (2, C, T), the share of resamples of donors with q < .05 within the family.

    p is of the t approximation at n, whatever ties the resample has; q of Benjamini and Hochberg
    among all columns and traits of the family and segmentation.

    Args:
        pair: columns and traits.
        draws: the resamples.
        families: (C,) codes; columns of one code are one family, over all traits.
    """
    found = np.zeros(pair.shape)
    size = max(1, _BLOCK_ENTRIES // max(1, found.size))
    blocks = list(find_blocks(pair, pair.shape[1]))
    for start in range(0, draws.n_resamples, size):
        stop = min(start + size, draws.n_resamples)
        p = np.full((stop - start, *pair.shape), np.nan)
        for block in blocks:
            n = len(block.donors)
            rho = block.rho(pair, draws.of(n)[start:stop])
            rows = np.ix_(np.arange(stop - start), BOTH, block.columns, block.traits)
            p[rows] = _find_small_p(rho, n - 2 - pair.n_covariates)
        found += find_discoveries(p, families).sum(axis=0)
    for_nothing = np.ones(pair.shape, dtype=bool)
    for block in blocks:
        for_nothing[np.ix_(BOTH, block.columns, block.traits)] = False
    return np.where(for_nothing, np.nan, found / draws.n_resamples)


def _find_small_p(rho: Floats, degrees: int) -> Floats:
    """Small p as they are, and 1 for those from .05 on: as good, since q is never below p."""
    t = special.stdtrit(degrees, 1 - ALPHA / 2)
    # A hair below the limit, so that rounding decides nothing here.
    small = np.abs(rho) > (1 - 1e-9) * t / np.sqrt(degrees + t * t)
    p = np.where(np.isnan(rho), np.nan, 1.0)
    p[small] = two_sided_p(rho[small], degrees)
    return p


def find_discoveries(p: Floats, families: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns where q < .05, in every resample and segmentation by itself.

    Args:
        p: (B, 2, C, T); NaN is no test.
        families: (C,) codes.
    """
    found = np.zeros(p.shape, dtype=np.bool_)
    for family in np.unique(families):
        members = families == family
        part = p[:, :, members]
        found[:, :, members] = _discover(part.reshape(*p.shape[:2], -1)).reshape(part.shape)
    return found


def _discover(p: Floats) -> NDArray[np.bool_]:
    """Where the q of Benjamini and Hochberg along the last axis is below .05."""
    ordered = np.sort(p, axis=-1)  # NaN last
    n_tests = np.isfinite(p).sum(axis=-1, keepdims=True)
    place = np.arange(1, p.shape[-1] + 1)
    below = ordered * n_tests / place < ALPHA
    # The largest p that is low enough for its place; all smaller ones are found with it.
    last = p.shape[-1] - 1 - np.argmax(below[..., ::-1], axis=-1, keepdims=True)
    largest = np.take_along_axis(ordered, last, axis=-1)
    return (p <= largest) & below.any(axis=-1, keepdims=True)
