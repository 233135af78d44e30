"""Coarser levels of a tile: images by the mean of blocks, labels by the pixel nearest its centre.

Level n has blocks of 2**n x 2**n px; rows and columns that fill no whole block are left out of it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from somaflow.labelstore import Labels

_LEVELS_MAX = 3
# A viewer draws anything smaller in no time.
_SIDE_MIN_PX = 128


def list_factors(height_px: int, width_px: int) -> list[int]:
    """Side of a block at each level, in px of the tile; the first is 1."""
    factors = [2**level for level in range(_LEVELS_MAX)]
    return [1] + [f for f in factors[1:] if min(height_px, width_px) // f >= _SIDE_MIN_PX]


def shrink_image(image: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """The image at a coarser level, in its own dtype, integers rounded.

    Args:
        image: (C, Y, X).
        factor: side of a block; 1 gives the image itself.
    """
    if factor == 1:
        return image
    channels, height_px, width_px = len(image), *_shape(image, factor)
    whole = image[:, : height_px * factor, : width_px * factor]
    blocks = whole.reshape(channels, height_px, factor, width_px, factor)
    means = blocks.mean(axis=(2, 4), dtype=np.float64)
    return (means if image.dtype.kind == "f" else np.rint(means)).astype(image.dtype)


def shrink_labels(labels: Labels, factor: int) -> Labels:
    """The labels at a coarser level; every id in it is one of the tile's.

    Args:
        labels: (Y, X) uint32, 0 = background.
        factor: side of a block; 1 gives the labels themselves.
    """
    height_px, width_px = _shape(labels, factor)
    return labels[factor // 2 :: factor, factor // 2 :: factor][:height_px, :width_px]


def _shape(array: npt.NDArray[Any], factor: int) -> tuple[int, int]:
    height_px, width_px = array.shape[-2:]
    return height_px // factor, width_px // factor
