"""Plain .npy arrays. Pickles are never loaded: they run code of whoever wrote them."""

from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from somaflow.errors import TileError
from somaflow.images.header import ImageHeader, check_data_end, make_header


def read_npy_header(path: Path) -> ImageHeader:
    """Header of a plain .npy file.

    Raises:
        TileError: if it holds pickled objects, is not (Y, X), has no pixel or is truncated.
    """
    with path.open("rb") as handle:
        version = npy_format.read_magic(handle)
        if version == (1, 0):
            shape, _, dtype = npy_format.read_array_header_1_0(handle)
        else:
            shape, _, dtype = npy_format.read_array_header_2_0(handle)
        start = handle.tell()
    if dtype.hasobject:
        raise TileError(
            f"image must be a plain array, {path} holds pickled Python objects (as a "
            "Cellpose _seg.npy does); save the masks or pixels themselves, as TIFF"
        )
    if len(shape) != 2:
        raise TileError(
            f"a .npy image must be (Y, X), {path} has shape {shape}; save one plane, or a TIFF "
            "that declares its axes"
        )
    check_data_end(path, start + int(np.prod(shape)) * dtype.itemsize)
    return make_header(path, "YX", shape, dtype)


def decode_npy(header: ImageHeader) -> np.ndarray:
    """The array of a file whose header was read."""
    return np.load(header.path, allow_pickle=False)
