"""Plain .npy arrays. Pickles are never loaded: they run code of whoever wrote them."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.lib import format as npy_format

from somaflow.errors import TileError
from somaflow.images.header import ImageHeader, check_data_end, make_header

_Read = TypeVar("_Read")
_TRIES = 5


def read_npy_header(path: Path) -> ImageHeader:
    """Header of a plain .npy file.

    Raises:
        TileError: if it holds pickled objects, is not (Y, X), has no pixel or is truncated.
    """
    shape, dtype, start = _parsed(lambda: _read_header(path))
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
    return _parsed(lambda: np.load(header.path, allow_pickle=False))


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape and type of the array, and the byte at which it starts."""
    with path.open("rb") as handle:
        version = npy_format.read_magic(handle)
        if version == (1, 0):
            shape, _, dtype = npy_format.read_array_header_1_0(handle)
        else:
            shape, _, dtype = npy_format.read_array_header_2_0(handle)
        return shape, dtype, handle.tell()


def _parsed(read: Callable[[], _Read]) -> _Read:
    """What `read` gives, which parses a header as Python.

    Python 3.11 counts the depth of syntax trees for all threads together: two that parse at once
    may get a SystemError («AST constructor recursion depth mismatch», python/cpython#106905) for a
    header that is as it should be. Labels were refused as corrupt for it.
    """
    for _ in range(_TRIES - 1):
        with suppress(SystemError):
            return read()
    return read()
