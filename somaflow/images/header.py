"""What an image file says about itself, and the one way its errors are worded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from somaflow.errors import TileError

EXPORT_AGAIN = "export it again or take it out"


@dataclass(frozen=True)
class ImageHeader:
    """Shape and type of an image file, known without decoding a pixel.

    Attributes:
        path: the file.
        axes: "YX", "CYX" or "YXC"; anything else (such as "ZYX") is a stack, not a tile's channel.
        shape: lengths along `axes`.
        dtype: as stored, in native byte order.
        height_px: length of the Y axis.
        width_px: length of the X axis.
        n_channels: length of the C axis, alpha included; 1 where there is none.
        has_alpha: the last channel is transparency and carries no signal.
    """

    path: Path
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    height_px: int
    width_px: int
    n_channels: int
    has_alpha: bool = False


def make_header(
    path: Path, axes: str, shape: tuple[int, ...], dtype: np.dtype, has_alpha: bool = False
) -> ImageHeader:
    """Builds a header from axes and shape.

    Raises:
        TileError: if the image has no pixel, or no Y and X axis.
    """
    lengths = dict(zip(axes, shape, strict=True))
    if lengths.get("Y", 0) < 1 or lengths.get("X", 0) < 1:
        raise TileError(f"image must have pixels, {path} has shape {shape}; {EXPORT_AGAIN}")
    return ImageHeader(
        path=path,
        axes=axes,
        shape=shape,
        dtype=dtype.newbyteorder("="),
        height_px=lengths["Y"],
        width_px=lengths["X"],
        n_channels=lengths.get("C", 1),
        has_alpha=has_alpha,
    )


def check_data_end(path: Path, end: int) -> None:
    """Refuses a file that stops before its last pixel.

    Args:
        path: the file.
        end: the byte after the last pixel, as the header says.

    Raises:
        TileError: if the file is shorter.
    """
    size = path.stat().st_size
    if end > size:
        raise TileError(
            f"image must be whole, {path} is truncated: its pixels end at byte {end} and the file "
            f"at byte {size}; {EXPORT_AGAIN}"
        )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns whatever a decoder raises into one line that names `path`.

    Raises:
        TileError: for any error of reading or decoding.
    """
    try:
        yield
    except TileError:
        raise
    except MemoryError as error:
        raise TileError(
            f"image must fit into memory, {path} does not: {error}; if its size is not what you "
            f"expect, it is corrupt: {EXPORT_AGAIN}"
        ) from error
    except FileNotFoundError as error:
        raise TileError(f"image must exist, there is no file {path}; check the path") from error
    except Exception as error:  # decoders raise dozens of types, most of their own making
        found = " ".join(str(error).split()) or type(error).__name__
        # A decoder's own OSError has no errno; one of the system's says nothing about the content.
        if isinstance(error, OSError) and error.errno is not None:
            raise TileError(
                f"image must be readable, {path} is not: {error.strerror}; check permissions and "
                "the disk, then run again"
            ) from error
        raise TileError(
            f"image must be whole, {path} is truncated or corrupt: {found}; {EXPORT_AGAIN}"
        ) from error
