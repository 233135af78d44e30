"""What happened in each epoch: a parquet file, whole at any moment, also while training runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from somaflow.files import write_bytes
from somaflow.schema import HISTORY
from somaflow.stamps import encode_table, read_table

HISTORY_NAME = "history.parquet"
HISTORY_DTYPES = {
    "epoch": "int64",
    "steps": "int64",
    "loss": "float64",
    "learning_rate": "float64",
    "val_precision_pooled": "float64",
    "val_recall_pooled": "float64",
    "val_f1_pooled": "float64",
    "val_ap50_image_mean": "float64",
    "weights_moved_fraction": "float64",
    "seconds": "float64",
}
"""Columns of the history: epoch from 1, learning rate of its last step, NaN where not scored."""


def read_history(folder: Path) -> pd.DataFrame:
    """One row an epoch, columns as `HISTORY_DTYPES`; empty before the first epoch has ended."""
    path = Path(folder) / HISTORY_NAME
    return read_table(HISTORY, path) if path.is_file() else _make_table([])


def write_history(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes the rows to the folder, in place of the former ones."""
    write_bytes(Path(folder) / HISTORY_NAME, encode_table(HISTORY, _make_table(rows)))


def _make_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(HISTORY_DTYPES)).astype(HISTORY_DTYPES)
