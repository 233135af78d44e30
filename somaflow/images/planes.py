"""One (Y, X) plane of an image file, its values those the microscope measured."""

from pathlib import Path

import numpy as np

from somaflow.errors import TileError
from somaflow.images.formats import read_stored
from somaflow.images.header import ImageHeader

# scanR exports unsigned data through signed integers: every value then carries this offset.
_SIGNED_OFFSET = 32768


def read_plane(path: Path | str, channel: int | None = None, offset: int = 0) -> np.ndarray:
    """One plane of an image file, in its native type.

    Grey stored as RGB comes back as that grey, palette indices as stored, 0-is-white turned back.

    Args:
        path: a TIFF, PNG or plain .npy file, whatever its extension.
        channel: which channel of several, from 0; None for a file with a single one.
        offset: subtracted from every value; 32768 for scanR's signed export.

    Returns:
        (Y, X) array, dtype as stored, native byte order.

    Raises:
        TileError: if the file is truncated or corrupt, is a stack, holds NaN, Inf or yes/no values,
            several different channels and none is named, or values that the offset does not fit.
    """
    header, stored = read_stored(path, invert_white=True)
    check_is_plane(header, channel)
    plane = np.ascontiguousarray(_pick_plane(header, stored, channel))
    _check_values(header.path, plane)
    return _subtract_offset(header.path, plane, offset)


def check_is_plane(header: ImageHeader, channel: int | None) -> None:
    """Refuses what the header alone shows not to be a plane of intensities.

    Args:
        header: of the image file.
        channel: as for `read_plane`; None passes for colour, which may turn out to be grey.

    Raises:
        TileError: for stacks, yes/no images, complex numbers, and a channel missing or unnamed.
    """
    path, n_channels = header.path, header.n_channels
    if header.axes not in ("YX", "CYX", "YXC"):
        raise TileError(
            f"image must be one plane or channels, {path} is a {header.axes} stack of shape "
            f"{header.shape}; save the plane to use (or a projection) as a (Y, X) TIFF"
        )
    if header.dtype.kind not in "uif":
        raise TileError(
            f"image must hold intensities, {path} holds {header.dtype}; "
            "pass the microscope's image, not a binary mask"
        )
    if channel is not None and not 0 <= channel < n_channels:
        raise TileError(
            f"channel must be 0..{n_channels - 1}, got {channel} for {path}; it has axes "
            f"{header.axes} and shape {header.shape}"
        )
    if channel is None and header.axes == "CYX":
        raise _several_channels(header)


def _pick_plane(header: ImageHeader, stored: np.ndarray, channel: int | None) -> np.ndarray:
    if header.axes == "YX":
        return stored
    if channel is not None:
        return stored[channel] if header.axes == "CYX" else stored[..., channel]
    colours = stored[..., :-1] if header.has_alpha else stored
    if not (colours == colours[..., :1]).all():
        raise _several_channels(header)
    return colours[..., 0]


def _several_channels(header: ImageHeader) -> TileError:
    return TileError(
        f"image must have one channel or channel must be named, {header.path} has "
        f"{header.n_channels} (axes {header.axes}, shape {header.shape}); name one "
        f"with channel=0..{header.n_channels - 1} (dapi_channel, marker_channel in a manifest)"
    )


def _check_values(path: Path, plane: np.ndarray) -> None:
    if plane.dtype.kind != "f":
        return
    n_nan, n_infinite = int(np.isnan(plane).sum()), int(np.isinf(plane).sum())
    if n_nan or n_infinite:
        raise TileError(
            f"image must be finite, {path} has {n_nan} NaN and {n_infinite} infinite of "
            f"{plane.size} pixels; replace them before export or take it out"
        )


def _subtract_offset(path: Path, plane: np.ndarray, offset: int) -> np.ndarray:
    lowest = plane.min()
    if offset:
        if lowest < offset:
            raise TileError(
                f"every pixel must reach the pixel offset {offset}, {path} goes down to {lowest}; "
                "set the offset to 0 for this data set, or take it out"
            )
        return plane - plane.dtype.type(offset)
    if plane.dtype == np.uint16 and lowest >= _SIGNED_OFFSET:
        raise TileError(
            f"16-bit pixels must not all lie above {_SIGNED_OFFSET}, {path} starts at {lowest} "
            f"(signed data exported as unsigned, as scanR does); set pixel_offset: {_SIGNED_OFFSET}"
        )
    return plane
