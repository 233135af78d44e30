"""Rows of an inference's plan, with their tiles on disk, and how near two segmentations are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from somaflow.evaluation import count_matches
from somaflow.labelstore import decode_labels


def write_tile(folder: Path, tile_id: str, tile: np.ndarray) -> dict[str, Any]:
    """The row of a tile (2, Y, X), which lies in the folder as a pair of TIFF files."""
    paths = [folder / f"{tile_id}-{name}.tif" for name in ("dapi", "marker")]
    for path, plane in zip(paths, tile, strict=True):
        tifffile.imwrite(path, plane)
    height_px, width_px = tile.shape[1:]
    return {
        **{"tile_id": tile_id, "donor": "d1", "marker": "NeuN", "region": "r"},
        **dict(zip(("dapi_path", "marker_path"), map(str, paths), strict=True)),
        **{"height_px": height_px, "width_px": width_px},
    }


def average_precision(
    references: Sequence[np.ndarray], encoded: Sequence[bytes], rows: Sequence[dict[str, Any]]
) -> float:
    """AP at IoU 0.9, TP / (TP + FP + FN) over all tiles, of encoded labels against references."""
    counts = [
        count_matches(
            reference.astype(np.uint32),
            decode_labels(chunk, row["height_px"], row["width_px"]),
            iou_threshold=0.9,
        )
        for reference, chunk, row in zip(references, encoded, rows, strict=True)
    ]
    tp = sum(count.tp for count in counts)
    return tp / sum(count.tp + count.fp + count.fn for count in counts)
