"""TIFF files through tifffile: which axis is what, where the pixels end, and values as stored."""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from somaflow.errors import TileError
from somaflow.images.header import EXPORT_AGAIN, ImageHeader, check_data_end, make_header

# Pages whose meaning no metadata declares are channels up to this number, and a stack above it.
_MOST_UNDECLARED_CHANNELS = 5
_MINISWHITE = 0
_RGB = 2

# What tifffile logs about a broken file is said by our own error, once and with advice.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff_header(path: Path) -> ImageHeader:
    """Header of a TIFF, BigTIFF, ImageJ or OME file (of an OME set: this file alone).

    Raises:
        TileError: if it holds several images, or its strips or tiles end past the end of the file.
    """
    with _open(path) as file:
        series = _only_series(file, path)
        axes, shape = _name_axes(series.axes, series.shape)
        has_alpha = series.keyframe.photometric == _RGB and axes == "YXC" and shape[-1] == 4
        header = make_header(path, axes, shape, series.dtype, has_alpha)
        check_data_end(path, _find_data_end(series, path))
    return header


def decode_tiff(header: ImageHeader, invert_white: bool) -> np.ndarray:
    """The stored values of a file whose header was read, in the header's shape.

    Raises:
        TileError: if values of a type without a white level are stored as «0 is white».
    """
    with _open(header.path) as file:
        series = _only_series(file, header.path)
        stored = series.asarray().reshape(header.shape)
        keyframe = series.keyframe
        if not invert_white or keyframe.photometric != _MINISWHITE:
            return stored
        if stored.dtype.kind == "b":
            return ~stored
        if stored.dtype.kind != "u":
            raise TileError(
                f"only unsigned integers can be stored as 0-is-white, {header.path} holds "
                f"{stored.dtype}; save it with 0 as black"
            )
        white = 2 ** int(keyframe.bitspersample) - 1
        return stored.dtype.type(white) - stored


def _open(path: Path) -> Any:
    return tifffile.TiffFile(path, _multifile=False)


def _only_series(file: Any, path: Path) -> Any:
    _check_page_chain(file, path)
    if len(file.series) != 1:
        found = ", ".join(str(series.shape) for series in file.series) or "none"
        raise TileError(
            f"image file must hold one image, {path} holds {len(file.series)} ({found}); "
            "export each channel to a file of its own"
        )
    return file.series[0]


def _check_page_chain(file: Any, path: Path) -> None:
    """Refuses a file cut between its pages: tifffile would go on with the pages that are left."""
    layout = file.tiff
    order: Literal["big", "little"] = "big" if file.byteorder == ">" else "little"
    file.filehandle.seek(file.pages[-1].offset)
    n_tags = int.from_bytes(file.filehandle.read(layout.tagnosize), order)
    file.filehandle.seek(n_tags * layout.tagsize, 1)
    if any(file.filehandle.read(layout.offsetsize)):
        raise TileError(
            f"image must be whole, {path} is truncated: a page after its {len(file.pages)}. is "
            f"announced and not there; {EXPORT_AGAIN}"
        )


def _name_axes(axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Axes with C for samples and channels; lengths of 1 beside Y and X are dropped."""
    kept = [(a, n) for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX"]
    axes = "".join(a for a, _ in kept).replace("S", "C")
    shape = tuple(n for _, n in kept)
    if axes in ("QYX", "IYX"):
        if shape[-1] <= 4 < shape[0]:  # (Y, X, 3) written without saying that it is colour
            return "YXC", shape
        return ("CYX" if shape[0] <= _MOST_UNDECLARED_CHANNELS else "ZYX"), shape
    return axes, shape


def _find_data_end(series: Any, path: Path) -> int:
    if series.dataoffset is not None:
        return series.dataoffset + series.nbytes
    end = 0
    for page in series.pages:
        if page is None or not page.dataoffsets or 0 in page.databytecounts:
            raise TileError(f"image must be whole, {path} lacks pixel data; {EXPORT_AGAIN}")
        stops = zip(page.dataoffsets, page.databytecounts, strict=False)
        end = max(end, *(start + count for start, count in stops), 0)
    return end
