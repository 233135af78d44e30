"""The five metrics of many groups at once, without intervals: what choices on val are made from.

Enters: a table with a row an image (tp, fp, fn). Leaves: a row a group. Refuses: an empty table,
missing columns. `summary` gives the same numbers with intervals, at a thousand times the cost.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.bootstrap import METRICS, metric_values, unit_sums
from somaflow.evaluation.scores import OVERALL

_COUNTS = ["tp", "fp", "fn"]


def pooled_metrics(counts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Returns the five metrics of each group, their ratios of 0/0 as in `summarise`.

    Args:
        counts: a row an image; tp, fp, fn and the `by` columns.
        by: columns to group by.

    Returns:
        A row a group in order of first appearance: the `by` columns, n_images, tp, fp, fn,
        n_reference, n_predicted (int64), ap50_image_mean, ap50_pooled, precision_pooled,
        recall_pooled and f1_pooled (float64).

    Raises:
        ScoringError: if the table is empty or lacks a column.
    """
    check_counts(counts, by)
    columns = list(by)
    group = counts.groupby(columns, sort=False, dropna=False, observed=True).ngroup().to_numpy()
    sums = unit_sums(counts[_COUNTS].to_numpy(dtype=np.float64), group, int(group.max()) + 1)
    tp, fp, fn, _, n_images = sums.astype(np.int64).T
    table = counts[columns].drop_duplicates(ignore_index=True)
    table = table.assign(
        n_images=n_images, tp=tp, fp=fp, fn=fn, n_reference=tp + fn, n_predicted=tp + fp
    )
    return table.assign(**dict(zip(METRICS, metric_values(sums).T, strict=True)))


def add_overall(counts: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows twice: first as of the marker "all", then as they are."""
    return pd.concat([counts.assign(marker=OVERALL), counts], ignore_index=True)


def select_rows(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Returns the rows with these values, in those of the named columns that the table has."""
    for column, value in names.items():
        if column in table:
            table = table[table[column] == value]
    return table


def check_counts(counts: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuses a table that is not counts, a row an image.

    Raises:
        ScoringError: if the table is empty, or lacks tp, fp, fn or one of `columns`.
    """
    missing = [name for name in [*_COUNTS, *columns] if name not in counts]
    if missing:
        raise ScoringError(
            f"counts must have a column {', '.join(missing)}; found {', '.join(map(str, counts))}"
        )
    if counts.empty:
        raise ScoringError("counts must have a row an image, got an empty table; score tiles first")
