"""Redraws of tiles within donors: a share of each donor's tiles, or two halves of them.

Enters: the donor of each tile. Leaves: a row a redraw, True where a tile is in it. Refuses: a share
outside (0, 1], no redraws.

Equal seeds and donors give equal redraws, so two segmentations of the same tiles are paired.
"""

import numpy as np
from numpy.typing import NDArray

from somaflow.errors import BadInputError

# Random keys are sorted in blocks of this many (32 MB).
_BLOCK_ENTRIES = 4_000_000


def draw_tiles(
    donors: NDArray[np.integer], share: float, n_draws: int, seed: int
) -> NDArray[np.bool_]:
    """Returns, for each redraw, a share of each donor's tiles, drawn without replacement.

    Args:
        donors: (N,) integers >= 0, the donor of each tile.
        share: of a donor's tiles, in (0, 1]; rounded to whole tiles, at least one.
        n_draws: R.
        seed: of the draws.

    Returns:
        (R, N) bool.

    Raises:
        BadInputError: if the share is outside (0, 1] or `n_draws` is below 1.
    """
    if not 0 < share <= 1:
        raise BadInputError(f"share must lie in (0, 1], got {share!r}")
    kept = np.maximum(1, np.rint(share * _tiles_of_donor(donors)))
    return _shuffled_places(donors, n_draws, np.random.default_rng(seed)) < kept


def deal_halves(donors: NDArray[np.integer], n_deals: int, seed: int) -> NDArray[np.bool_]:
    """Returns, for each deal, which tiles are in the first half of their donor's.

    Where a donor has an odd number of tiles, chance says which half gets the one more.

    Args:
        donors: (N,) integers >= 0, the donor of each tile.
        n_deals: R.
        seed: of the deals.

    Returns:
        (R, N) bool; the other half is its negation.

    Raises:
        BadInputError: if `n_deals` is below 1.
    """
    rng = np.random.default_rng(seed)
    places = _shuffled_places(donors, n_deals, rng)
    extra = rng.random((n_deals, int(donors.max(initial=-1)) + 1)) < 0.5
    n_tiles = _tiles_of_donor(donors)
    return places < n_tiles // 2 + (n_tiles % 2) * extra[:, donors]


def _tiles_of_donor(donors: NDArray[np.integer]) -> NDArray[np.integer]:
    """(N,) the number of tiles of each tile's donor."""
    return np.bincount(donors)[donors]


def _shuffled_places(
    donors: NDArray[np.integer], n_draws: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """(R, N) each tile's place, from 0, in a random order of its donor's tiles."""
    if n_draws < 1:
        raise BadInputError(f"the number of redraws must be at least 1, got {n_draws!r}")
    sizes = np.bincount(donors)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # In the order of donors, whose tiles then lie together: 0 1 2 | 0 1 | 0 1 2 3
    place = (np.arange(len(donors)) - np.repeat(starts, sizes)).astype(np.int32)
    places = np.empty((n_draws, len(donors)), dtype=np.int32)
    block = max(1, _BLOCK_ENTRIES // max(1, len(donors)))
    for start in range(0, n_draws, block):
        rows = places[start : start + block]
        # Donor before, chance behind the point: sorts by donor, within a donor at random.
        order = np.argsort(donors + rng.random(rows.shape), axis=1)
        np.put_along_axis(rows, order, place[None, :], axis=1)
    return places
