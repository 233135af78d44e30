"""`threshold`: a segmenter without a net, to try a site, a disk or a whole run in minutes.

Enters: (2, Y, X) tiles. Leaves: the connected areas of the marker above its Otsu threshold, (Y, X)
uint32. It finds no cell bodies worth counting; everything around it is the real thing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from somaflow.recipes import Recipe
from somaflow.segmenter.inputs import check_tiles

THRESHOLD = "threshold"
"""The model's name in a recipe."""
# Stands for its code, as a checksum of weights stands for a net: another method, another number.
_METHOD = b"otsu of the marker in 256 bins, connected areas, method 1"
THRESHOLD_SHA256 = hashlib.sha256(_METHOD).hexdigest()
_BINS = 256


@dataclass(frozen=True)
class ThresholdSegmenter:
    """Otsu's threshold and connected areas; of a recipe it takes min_size_px and the gate."""

    model: str = THRESHOLD
    sha256: str = THRESHOLD_SHA256
    device: Literal["cpu"] = "cpu"

    def segment(self, tiles: Sequence[NDArray[Any]], recipe: Recipe) -> list[NDArray[np.uint32]]:
        """Labels of each tile, (Y, X) uint32, 0 = background.

        Raises:
            TileError: for tiles that are not (2, Y, X), finite and at least 16 px a side.
        """
        check_tiles(tiles)
        return [_segment_tile(np.asarray(tile[1]), recipe) for tile in tiles]


def otsu_threshold(image: NDArray[Any]) -> float:
    """The value that parts the pixels into two classes of least variance (Otsu 1979).

    Args:
        image: any shape, real and finite.

    Returns:
        Pixels above it are the brighter class; the image's maximum where all pixels are equal.
    """
    counts, edges = np.histogram(image, bins=_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    sum_below, sum_above = np.cumsum(counts * centres), np.cumsum((counts * centres)[::-1])[::-1]
    mean_below = sum_below[:-1] / np.maximum(below[:-1], 1)
    mean_above = sum_above[1:] / np.maximum(above[1:], 1)
    between = below[:-1] * above[1:].astype(np.float64) * (mean_below - mean_above) ** 2
    if not between.any():
        return float(image.max())
    return float(edges[1 + int(np.argmax(between))])


def _segment_tile(marker: NDArray[Any], recipe: Recipe) -> NDArray[np.uint32]:
    found, _ = ndimage.label(marker > otsu_threshold(marker))
    areas_px = np.bincount(found.ravel())
    keep = areas_px >= recipe.min_size_px
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    labels: NDArray[np.uint32] = numbers[found]
    if recipe.gate is None:
        return labels
    from somaflow.gating import gate_labels

    return gate_labels(labels, marker, recipe.gate)
