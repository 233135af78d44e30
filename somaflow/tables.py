"""Tables of scores and choices as people read them, in the terminal and on the dashboard.

Enters: tables of numbers. Leaves: tables of text, intervals in brackets, "-" where undefined.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

_WORDS = ("recipe", "split", "marker", "point")


def score_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a recipe, split and marker: counts, scores and differences against the baseline.

    Args:
        scores: from `evaluation.comparison.compare_recipes`.
    """
    rows: Iterable[Any] = scores.itertuples()
    return pd.DataFrame(
        [
            {
                "recipe": row.recipe,
                "split": row.split,
                "marker": row.marker,
                "tiles": str(row.n_images),
                "donors": str(row.n_donors),
                "cells": str(row.n_reference),
                "found": str(row.n_predicted),
                "precision": _number(row.precision_pooled),
                "recall": _number(row.recall_pooled),
                "F1 pooled": _interval(row, "f1_pooled"),
                "F1 difference": _interval(row, "f1_pooled_difference", sign="+"),
                "AP50 image mean": _interval(row, "ap50_image_mean"),
            }
            for row in rows
        ]
    )


def text_rows(
    table: pd.DataFrame, names: dict[str, str], intervals: Sequence[str] = ()
) -> pd.DataFrame:
    """The named columns as text, under other names.

    Args:
        table: any table; numbers are shown with three digits, whole numbers as they are.
        names: column of `table` to heading, in order.
        intervals: columns that have `_low` and `_high` beside them, shown in brackets.
    """
    rows: Iterable[Any] = table.itertuples()
    return pd.DataFrame(
        [
            {
                heading: _interval(row, column) if column in intervals else _cell(row, column)
                for column, heading in names.items()
            }
            for row in rows
        ],
        columns=list(names.values()),
    )


def describe_scores(scores: pd.DataFrame, iou_threshold: float) -> str:
    """What the table shows: level of the splits, overlap, and what was resampled."""
    level = ", ".join(sorted(scores.split_level.unique()))
    unit = ", ".join(sorted(set(scores.bootstrap_unit) - {"none"})) or "no"
    return f"Scores ({level}-level splits, IoU {iou_threshold:g}, 95 % {unit} bootstrap intervals)"


def as_text(rows: pd.DataFrame, title: str) -> Table:
    """A table of text for the terminal; rows over all markers in bold."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in map(str, rows):
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=True)
    for row in rows.to_dict("records"):
        table.add_row(*row.values(), style="bold" if row.get("marker") == "all" else None)
    return table


def _cell(row: Any, column: str) -> str:
    value = getattr(row, column)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) > 1 else _number(value)
    return "-" if value is None else str(value)


def _interval(row: Any, metric: str, sign: str = "") -> str:
    value = _number(getattr(row, metric), sign)
    low, high = getattr(row, f"{metric}_low"), getattr(row, f"{metric}_high")
    return value if pd.isna(low) else f"{value} [{low:{sign}.2f}, {high:{sign}.2f}]"


def _number(value: float, sign: str = "") -> str:
    return "-" if pd.isna(value) else f"{value:{sign}.3f}"
