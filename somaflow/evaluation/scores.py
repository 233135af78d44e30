"""Which tiles are shown of a recipe, and how rows over all markers are called."""

import pandas as pd

OVERALL = "all"
_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}


def choose_examples(counts: pd.DataFrame) -> dict[str, list[str]]:
    """Tiles of median, best and worst F1 of each marker, under these names.

    They are taken from the marker's test tiles, or from val or train where there are none. A marker
    with a single tile has it as its median alone.
    """
    chosen: dict[str, list[str]] = {"median": [], "best": [], "worst": []}
    f1 = 2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn).clip(lower=1)
    rows = counts.assign(f1=f1, order=counts.split.map(_SPLIT_ORDER))
    for _, group in rows.groupby("marker", sort=True):
        ordered = group[group.order == group.order.max()].sort_values(["f1", "tile_id"])
        tile_ids = ordered.tile_id.astype(str).tolist()
        chosen["median"].append(tile_ids[len(tile_ids) // 2])
        if len(tile_ids) > 1:
            chosen["best"].append(tile_ids[-1])
            chosen["worst"].append(tile_ids[0])
    return chosen
