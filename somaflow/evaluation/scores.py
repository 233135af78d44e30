"""The table people read: every recipe, split and marker with its interval."""

import pandas as pd

from somaflow.evaluation.summary import summarise

OVERALL = "all"
_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}


def scores_table(counts: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Summaries per recipe, split and marker, with a row "all" over the markers of each.

    Args:
        counts: one row an image, from `score_tiles`.
        n_resamples: bootstrap resamples.
        seed: of the resampling.
    """
    keys = ["recipe", "split", "split_level"]
    overall = summarise(counts, by=keys, n_resamples=n_resamples, seed=seed)
    overall.insert(3, "marker", OVERALL)
    markers = summarise(counts, by=[*keys, "marker"], n_resamples=n_resamples, seed=seed)
    table = pd.concat([overall, markers], ignore_index=True)
    return (
        table.assign(_split=table.split.map(_SPLIT_ORDER), _overall=table.marker != OVERALL)
        .sort_values(["recipe", "_split", "_overall", "marker"], ignore_index=True)
        .drop(columns=["_split", "_overall"])
    )


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
