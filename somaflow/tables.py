"""Score tables for the terminal."""

from typing import Any

import pandas as pd
from rich.table import Table


def scores_as_text(scores: pd.DataFrame, iou_threshold: float) -> Table:
    """A table with a row per recipe, split and marker; intervals in brackets."""
    level = ", ".join(sorted(scores.split_level.unique()))
    table = Table(
        title=f"Scores ({level}-level splits, IoU {iou_threshold:g}, 95 % bootstrap intervals)"
    )
    for name in ("recipe", "split", "marker"):
        table.add_column(name)
    for name in ("tiles", "cells", "found", "F1 pooled", "precision", "recall", "AP50 image mean"):
        table.add_column(name, justify="right")
    row: Any
    for row in scores.itertuples():
        values = (
            _interval(row, metric)
            for metric in ("f1_pooled", "precision_pooled", "recall_pooled", "ap50_image_mean")
        )
        table.add_row(
            row.recipe,
            row.split,
            row.marker,
            str(row.n_images),
            str(row.n_reference),
            str(row.n_predicted),
            *values,
            style="bold" if row.marker == "all" else None,
        )
    return table


def _interval(row: object, metric: str) -> str:
    value = getattr(row, metric)
    low, high = getattr(row, f"{metric}_low"), getattr(row, f"{metric}_high")
    if pd.isna(value):
        return "-"
    return f"{value:.3f}" if pd.isna(low) else f"{value:.3f} [{low:.2f}, {high:.2f}]"
