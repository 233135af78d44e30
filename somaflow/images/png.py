"""PNG files through Pillow, as stored: palette indices, grey of any bit depth, 8-bit colour."""

from pathlib import Path

import numpy as np
from PIL import Image

from somaflow.errors import TileError
from somaflow.images.header import EXPORT_AGAIN, ImageHeader, make_header

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type
_WITH_ALPHA = (4, 6)
_GREY = 0


def read_png_header(path: Path) -> ImageHeader:
    """Header of a PNG file.

    Raises:
        TileError: if it is cut inside its header, or 16-bit colour (Pillow keeps 8 bits).
    """
    height, width, depth, colour = _read_ihdr(path)
    n_channels = _CHANNELS[colour]
    if depth == 16 and n_channels > 1:
        raise TileError(
            f"PNG must be grey or 8-bit colour, {path} is 16-bit colour; save it as TIFF"
        )
    yes_no = colour == _GREY and depth == 1
    dtype = np.dtype("bool" if yes_no else "uint16" if depth == 16 else "uint8")
    if n_channels == 1:
        return make_header(path, "YX", (height, width), dtype)
    return make_header(path, "YXC", (height, width, n_channels), dtype, colour in _WITH_ALPHA)


def decode_png(header: ImageHeader) -> np.ndarray:
    """The stored values of a file whose header was read."""
    _, _, depth, colour = _read_ihdr(header.path)
    with Image.open(header.path, formats=["PNG"]) as image:
        stored = np.asarray(image)
    if colour == _GREY and depth in (2, 4):
        # Pillow stretches 2- and 4-bit grey to 0..255, which would change label ids.
        stored = stored // (255 // (2**depth - 1))
    return stored


def _read_ihdr(path: Path) -> tuple[int, int, int, int]:
    with path.open("rb") as handle:
        start = handle.read(26)
    if len(start) < 26:
        raise TileError(f"image must be whole, {path} is truncated in its header; {EXPORT_AGAIN}")
    width, height = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
    return height, width, start[24], start[25]
