"""Which predicted cell belongs to which reference cell, given the pairs that overlap enough.

Enters: pairs of cells, as indices. Leaves: which cells are matched in the largest possible
matching, each in one pair at most. Above an IoU of 0.5 no cell has two partners.
"""

from numbers import Real

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from somaflow.errors import ScoringError


def check_iou_threshold(iou_threshold: float) -> None:
    """Refuses what is not a threshold of overlap.

    Raises:
        ScoringError: if it is not a number in (0, 1].
    """
    is_number = isinstance(iou_threshold, Real) and not isinstance(iou_threshold, bool)
    if not is_number or not 0 < iou_threshold <= 1:
        raise ScoringError(
            f"iou_threshold must be a number in (0, 1], got {iou_threshold!r}; 0.5 is usual"
        )


def match_cells(cell: np.ndarray, other: np.ndarray, n_cells: int) -> np.ndarray:
    """Returns which cells are matched in the largest possible matching, (n_cells,) bool.

    Args:
        cell: (K,) integers below `n_cells`, one side of each pair.
        other: (K,) integers >= 0, its other side; they may have gaps.
        n_cells: number of cells on the first side.
    """
    matched = np.zeros(n_cells, dtype=np.bool_)
    if is_one_to_one(cell, other):
        matched[cell] = True
        return matched
    _, partner = np.unique(other, return_inverse=True)
    shape = (n_cells, int(partner.max()) + 1)
    graph = csr_array((np.ones(cell.size, dtype=np.int8), (cell, partner)), shape=shape)
    return maximum_bipartite_matching(graph, perm_type="column") >= 0


def is_one_to_one(cell: np.ndarray, other: np.ndarray) -> bool:
    """Whether no cell has two partners; so it is wherever all IoUs exceed 0.5."""
    return np.unique(cell).size == cell.size and np.unique(other).size == other.size
