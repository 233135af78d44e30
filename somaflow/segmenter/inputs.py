"""Tiles as Cellpose's nets take them.

Enters: (2, Y, X) arrays, DAPI first. Leaves: (3, Y, X) copies, DAPI or zeros, marker, zeros; as
they are, or scaled for the net.
Refuses: what is not a pair of channels, not finite, or smaller than 16 px a side.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from somaflow.errors import TileError
from somaflow.recipes import Channels, Normalisation
from somaflow.segmenter.percentiles import can_count, scale_by_count

MIN_SIDE_PX = 16

# In full and always passed: eval writes a bare True or False into models.normalize_default, so one
# call with normalize=False anywhere switches it off for all that rely on the default.
NORMALISATION: Mapping[str, Any] = MappingProxyType(
    dict(lowhigh=None, percentile=None, normalize=True, norm3D=True, invert=False)
    | dict(sharpen_radius=0, smooth_radius=0, tile_norm_blocksize=0, tile_norm_smooth3D=1)
)
"""Cellpose's own defaults: each channel from its 1st to its 99th percentile."""

# Sizes of the background normalisation; chosen on val (docs/real-images.md).
_SMOOTHING_PX = 2.0
_DEVIATIONS = 8.0
_CLIP = (-2.0, 8.0)
_MAD_TO_SIGMA = 1.4826
# A background without any texture would make every other pixel infinitely bright.
_LEAST_SHARE_OF_RANGE = 1e-3


def normalise_input(
    tile: ArrayLike, channels: Channels = "both", normalisation: Normalisation = "percentiles"
) -> NDArray[np.float32]:
    """The (3, Y, X) planes that a net sees of a tile; a blank channel stays 0.

    Args:
        tile: (2, Y, X), of any real dtype; left as it is.
        channels: `marker` blanks DAPI.
        normalisation: `percentiles` is Cellpose's own. `background` measures each channel from the
            median of its smoothed self, in units of eight times that one's spread (median absolute
            deviation), clipped to -2 to 8: where most of a tile is background, both are the
            background's, however many cells the tile holds and however bright they are.

    Raises:
        TileError: as `prepare_input`.
    """
    prepared = prepare_input(tile, channels)
    if normalisation == "percentiles":
        if all(can_count(plane) for plane in prepared):
            return np.stack([scale_by_count(plane) for plane in prepared])
        from cellpose import transforms

        # Channels last, as eval passes them: another layout adds up in another order.
        image = np.moveaxis(prepared, 0, -1)[np.newaxis]
        return np.moveaxis(transforms.normalize_img(image, **NORMALISATION)[0], -1, 0)
    return np.stack([_from_background(plane) for plane in prepared.astype(np.float32)])


def _from_background(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    span = float(plane.max()) - float(plane.min())
    if span == 0:
        return np.zeros_like(plane)
    smooth = ndimage.gaussian_filter(plane, _SMOOTHING_PX)
    middle = np.median(smooth)
    spread = _MAD_TO_SIGMA * np.median(np.abs(smooth - middle))
    unit = _DEVIATIONS * max(spread, _LEAST_SHARE_OF_RANGE * span)
    return np.clip((plane - middle) / unit, *_CLIP).astype(np.float32)


def prepare_input(tile: ArrayLike, channels: Channels = "both") -> NDArray[Any]:
    """A copy of the tile as Cellpose's nets take it: (3, Y, X) = DAPI, marker, zeros.

    Args:
        tile: (2, Y, X), of any real dtype, which is kept.
        channels: `marker` puts zeros in the place of DAPI.

    Raises:
        TileError: if the tile is not (2, Y, X) real finite numbers, at least 16 px a side.
    """
    array = np.asarray(tile)
    problem = _find_problem(array)
    if problem:
        raise TileError(f"{problem}; pass (DAPI, marker) as one array")
    dapi, marker = array
    zeros = np.zeros_like(dapi)
    return np.stack([zeros if channels == "marker" else dapi, marker, zeros])


def check_tiles(tiles: Sequence[ArrayLike]) -> None:
    """Raises one `TileError` that names every tile `prepare_input` would refuse."""
    found = [(index, _find_problem(np.asarray(tile))) for index, tile in enumerate(tiles)]
    problems = [f"tile {index} of {len(tiles)}: {what}" for index, what in found if what]
    if problems:
        raise TileError("\n".join([*problems, "pass a list of (DAPI, marker) arrays"]))


def _find_problem(tile: NDArray[Any]) -> str | None:
    is_pair = tile.ndim == 3 and len(tile) == 2 and min(tile.shape[1:]) >= MIN_SIDE_PX
    if not is_pair or tile.dtype.kind not in "biuf":
        return (
            f"a tile must be (2, Y, X) real numbers, at least {MIN_SIDE_PX} px a side, "
            f"got {tile.shape} {tile.dtype}"
        )
    if tile.dtype.kind == "f" and not np.isfinite(tile).all():
        return f"a tile must be finite, got NaN or infinity in {tile.shape} {tile.dtype}"
    return None
