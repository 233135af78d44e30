"""What a gate takes away: right and wrong cells, kept and removed, by size.

Enters: the tables of `measure_gate_pairs` and a gate a marker. Leaves: a row a split, marker and
size bin. Refuses: markers that no gate is given for.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.matching import match_cells
from somaflow.gating.grid import keep_by, pairs_of, tiles_with_cells
from somaflow.recipes import Gate

_KINDS = ("tp_kept", "tp_removed", "fp_kept", "fp_removed")


def describe_removed(
    cells: pd.DataFrame,
    tiles: pd.DataFrame,
    gate_of: Mapping[str, Gate | None],
    edges_px: Sequence[int],
    iou_threshold: float,
) -> pd.DataFrame:
    """Returns how many right and wrong cells each marker's gate keeps and removes, by size.

    Right (tp) is a cell that is matched before gating.

    Args:
        cells: of `measure_gate_pairs`, of one recipe; tiles put together.
        tiles: likewise.
        gate_of: the gate of each marker in `tiles`; None keeps everything.
        edges_px: areas between bins, ascending: N edges make N + 1 bins; a cell as large as an
            edge is in the bin above it.
        iou_threshold: as for `sweep_gates`.

    Returns:
        A row a split, marker and bin, empty bins too: split, marker, from_area_px, below_area_px
        (inf in the last), tp_kept, tp_removed, fp_kept, fp_removed.

    Raises:
        ScoringError: if a marker has no entry in `gate_of`, edges do not ascend, or the tables do
            not fit as `sweep_gates` asks.
    """
    edges = np.asarray(edges_px, dtype=np.float64)
    unknown = sorted(set(tiles["marker"]) - set(gate_of))
    if unknown or (np.diff(edges) <= 0).any():
        raise ScoringError(
            "every marker must have a gate or None, and edges_px must ascend, got no gate for "
            f"{', '.join(unknown) or 'none'} and edges {list(edges_px)}; pass the chosen gates"
        )
    counts: dict[tuple[str, str], np.ndarray] = {}
    for tile, own in tiles_with_cells(cells, tiles, iou_threshold):
        cell, reference = pairs_of(own, iou_threshold)
        is_wrong = ~match_cells(cell, reference, len(own))
        is_removed = ~keep_by([gate_of[tile["marker"]] or Gate()], own, tile)[0]
        size = np.searchsorted(edges, own["area_px"].to_numpy(), side="right")
        group = counts.setdefault(
            (tile["split"], tile["marker"]), np.zeros((edges.size + 1, 4), dtype=np.int64)
        )
        np.add.at(group, (size, 2 * is_wrong + is_removed), 1)
    return pd.concat(
        [
            _bins(edges).assign(
                split=split, marker=marker, **dict(zip(_KINDS, group.T, strict=True))
            )
            for (split, marker), group in sorted(counts.items())
        ],
        ignore_index=True,
    )[["split", "marker", "from_area_px", "below_area_px", *_KINDS]]


def _bins(edges: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"from_area_px": np.append(0, edges), "below_area_px": np.append(edges, np.inf)}
    )
