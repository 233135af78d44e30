"""The table people read: every recipe, split and marker with its interval."""

import pandas as pd

from somaflow.evaluation.summary import summarise

OVERALL = "all"


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
    order = {"train": 0, "val": 1, "test": 2}
    return (
        table.assign(_split=table.split.map(order), _overall=table.marker != OVERALL)
        .sort_values(["recipe", "_split", "_overall", "marker"], ignore_index=True)
        .drop(columns=["_split", "_overall"])
    )


def choose_examples(counts: pd.DataFrame, split: str = "test") -> list[str]:
    """The tile of median F1 of each marker in `split`: neither the best nor the worst is shown."""
    chosen = []
    rows = counts[counts.split == split]
    f1 = 2 * rows.tp / (2 * rows.tp + rows.fp + rows.fn).clip(lower=1)
    for _, group in rows.assign(f1=f1).groupby("marker", sort=True):
        ordered = group.sort_values(["f1", "tile_id"])
        chosen.append(str(ordered.tile_id.iloc[len(ordered) // 2]))
    return chosen
