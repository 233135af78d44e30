"""Which tiles are shown of a recipe, and how rows over all markers are called."""

import pandas as pd

OVERALL = "all"
_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}


def choose_examples(counts: pd.DataFrame) -> list[str]:
    """The tile of median F1 of each marker: neither its best nor its worst is shown.

    It is taken from the marker's test tiles, or from val or train where there are none.
    """
    chosen = []
    f1 = 2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn).clip(lower=1)
    rows = counts.assign(f1=f1, order=counts.split.map(_SPLIT_ORDER))
    for _, group in rows.groupby("marker", sort=True):
        ordered = group[group.order == group.order.max()].sort_values(["f1", "tile_id"])
        chosen.append(str(ordered.tile_id.iloc[len(ordered) // 2]))
    return chosen
