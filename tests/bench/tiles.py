"""Tiles on disk, and how people read and evaluate them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from somaflow.segmenter import prepare_input
from tests.rows import write_tile


def write_rows(folder: Path, tiles: Iterable[np.ndarray]) -> list[dict[str, Any]]:
    """Rows of a plan for tiles (2, Y, X)."""
    return [write_tile(folder, str(number), tile) for number, tile in enumerate(tiles)]


def read(row: dict[str, Any]) -> np.ndarray:
    """The tile as eval takes it."""
    planes = [tifffile.imread(row[name]) for name in ("dapi_path", "marker_path")]
    return prepare_input(np.stack(planes))


def eval_stack(model: Any, rows: list[dict[str, Any]], batch_size: int) -> list[np.ndarray]:
    """Labels of all tiles, evaluated as one array."""
    stack = np.stack([read(row) for row in rows])
    return list(model.eval(stack, channel_axis=1, batch_size=batch_size)[0])
