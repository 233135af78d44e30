"""Tiles on disk, and how people read and evaluate them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from somaflow.segmenter import prepare_input


def write_rows(folder: Path, tiles: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Rows of a plan for tiles (2, Y, X), each a pair of TIFF files."""
    rows = []
    for number, tile in enumerate(tiles):
        paths = [folder / f"{number}-{name}.tif" for name in ("dapi", "marker")]
        for path, plane in zip(paths, tile, strict=True):
            tifffile.imwrite(path, plane)
        height_px, width_px = tile.shape[1:]
        rows.append(
            {
                **dict(zip(("dapi_path", "marker_path"), map(str, paths), strict=True)),
                **{"height_px": height_px, "width_px": width_px},
                **{"tile_id": str(number), "donor": "d", "marker": "NeuN", "region": "r"},
            }
        )
    return rows


def read(row: dict[str, Any]) -> np.ndarray:
    """The tile as eval takes it."""
    planes = [tifffile.imread(row[name]) for name in ("dapi_path", "marker_path")]
    return prepare_input(np.stack(planes))


def eval_stack(model: Any, rows: list[dict[str, Any]], batch_size: int) -> list[np.ndarray]:
    """Labels of all tiles, evaluated as one array."""
    stack = np.stack([read(row) for row in rows])
    return list(model.eval(stack, channel_axis=1, batch_size=batch_size)[0])
