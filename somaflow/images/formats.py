"""Which reader a file needs, told by its first bytes: a TIFF named .png is read as a TIFF."""

from pathlib import Path

import numpy as np

from somaflow.errors import TileError
from somaflow.images import npy, png, tiff
from somaflow.images.header import EXPORT_AGAIN, ImageHeader, reading

_MAGIC = {
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",  # BigTIFF
    b"MM\0+": "tiff",
    b"\x89PNG": "png",
    b"\x93NUM": "npy",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without a member
}


def sniff_format(path: Path) -> str:
    """Format by the first four bytes: tiff, png, npy, zip, or an empty string for any other.

    Raises:
        TileError: if the file is missing, unreadable or has no bytes.
    """
    with reading(path):
        with path.open("rb") as handle:
            magic = handle.read(4)
        if not magic:
            raise TileError(f"image must hold data, {path} has 0 bytes; {EXPORT_AGAIN}")
    return _MAGIC.get(magic, "")


def read_header(path: Path | str) -> ImageHeader:
    """Shape, axes and type of an image file, without decoding its pixels.

    Args:
        path: a TIFF, PNG or plain .npy file, whatever its extension.

    Raises:
        TileError: if the file is missing, empty, of another format, or ends before its last pixel.
    """
    path = Path(path)
    kind = sniff_format(path)
    with reading(path):
        match kind:
            case "tiff":
                return tiff.read_tiff_header(path)
            case "png":
                return png.read_png_header(path)
            case "npy":
                return npy.read_npy_header(path)
    raise TileError(
        f"image must be TIFF, PNG or NPY, {path} begins with none of their marks; "
        "save it as TIFF or take it out"
    )


def read_stored(path: Path | str, invert_white: bool = False) -> tuple[ImageHeader, np.ndarray]:
    """The header and every value as stored: colour maps are never applied.

    Args:
        path: a TIFF, PNG or plain .npy file, whatever its extension.
        invert_white: undo the inversion of a TIFF in which 0 means white (intensities, not ids).

    Returns:
        The header, and an array of its shape and dtype in native byte order.

    Raises:
        TileError: as `read_header`, and if the pixels cannot be decoded.
    """
    header = read_header(path)
    with reading(header.path):
        match sniff_format(header.path):
            case "tiff":
                stored = tiff.decode_tiff(header, invert_white)
            case "png":
                stored = png.decode_png(header)
            case _:
                stored = npy.decode_npy(header)
    return header, np.ascontiguousarray(stored, dtype=header.dtype)
