"""Score tables as people read them, in the terminal and on the dashboard."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

_WORDS = ("recipe", "split", "marker")


def score_rows(scores: pd.DataFrame) -> list[dict[str, str]]:
    """One row per recipe, split and marker; intervals in brackets, "-" where undefined.

    Args:
        scores: from `evaluation.scores.scores_table`, which has an interval for every metric.
    """
    rows: Iterable[Any] = scores.itertuples()
    return [
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
            "AP50 image mean": _interval(row, "ap50_image_mean"),
        }
        for row in rows
    ]


def describe_scores(scores: pd.DataFrame, iou_threshold: float) -> str:
    """What the table shows: level of the splits, overlap, and what was resampled."""
    level = ", ".join(sorted(scores.split_level.unique()))
    unit = ", ".join(sorted(set(scores.bootstrap_unit) - {"none"})) or "no"
    return f"Scores ({level}-level splits, IoU {iou_threshold:g}, 95 % {unit} bootstrap intervals)"


def scores_as_text(scores: pd.DataFrame, iou_threshold: float) -> Table:
    """The score table for the terminal, rows over all markers in bold."""
    table = Table(
        title=describe_scores(scores, iou_threshold), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    rows = score_rows(scores)
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row.values(), style="bold" if row["marker"] == "all" else None)
    return table


def _interval(row: Any, metric: str) -> str:
    value = _number(getattr(row, metric))
    low, high = getattr(row, f"{metric}_low"), getattr(row, f"{metric}_high")
    return value if pd.isna(low) else f"{value} [{low:.2f}, {high:.2f}]"


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.3f}"
