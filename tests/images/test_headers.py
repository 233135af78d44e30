"""Headers: shape, axes and type without decoding; cut files told by size."""

from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import tifffile
from numpy.lib.format import read_array_header_1_0
from PIL import Image

from somaflow.errors import TileError
from somaflow.images import read_header

GREY = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)


def describe(path: Path) -> tuple[str, tuple[int, ...], str]:
    header = read_header(path)
    return header.axes, header.shape, str(header.dtype)


@pytest.mark.parametrize(
    ("stored", "options", "axes"),
    [
        (GREY, {}, "YX"),
        (np.dstack([GREY] * 3), {"photometric": "rgb"}, "YXC"),
        (np.stack([GREY] * 2), {"metadata": {"axes": "CYX"}, "imagej": True}, "CYX"),
        (np.stack([GREY] * 2), {"metadata": {"axes": "CYX"}, "ome": True}, "CYX"),
        (np.stack([GREY] * 3), {"photometric": "minisblack", "planarconfig": "separate"}, "CYX"),
        (np.stack([GREY] * 2), {"photometric": "minisblack"}, "CYX"),
        (np.stack([GREY] * 7), {"photometric": "minisblack"}, "ZYX"),
        (np.stack([GREY] * 2), {"metadata": {"axes": "ZYX"}, "imagej": True}, "ZYX"),
        (GREY, {"compression": "zlib", "tile": (16, 16), "bigtiff": True}, "YX"),
    ],
)
def test_header_names_the_axes_of_a_tiff(
    tmp_path: Path, stored: np.ndarray, options: dict, axes: str
) -> None:
    """Axes and shape follow what the file declares; pages without meaning are channels up to 5."""
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, stored, **options)
    assert describe(path) == (axes, stored.shape, "uint8")


@pytest.mark.parametrize(
    ("mode", "axes", "shape", "dtype"),
    [
        ("L", "YX", (12, 20), "uint8"),
        ("I;16", "YX", (12, 20), "uint16"),
        ("1", "YX", (12, 20), "bool"),
        ("P", "YX", (12, 20), "uint8"),
        ("RGB", "YXC", (12, 20, 3), "uint8"),
        ("RGBA", "YXC", (12, 20, 4), "uint8"),
    ],
)
def test_header_of_a_png_equals_what_pillow_decodes(
    tmp_path: Path, mode: str, axes: str, shape: tuple[int, ...], dtype: str
) -> None:
    """The header of every PNG mode tells the array that decoding will give."""
    path = tmp_path / "image.png"
    Image.new(mode, (20, 12)).save(path)
    assert describe(path) == (axes, shape, dtype)
    assert np.asarray(Image.open(path)).shape == shape


def test_header_goes_by_content_not_by_name(tmp_path: Path) -> None:
    """A TIFF named .png and an array named .tif are read for what they are."""
    tifffile.imwrite(tmp_path / "tiff.png", GREY)
    with (tmp_path / "array.tif").open("wb") as handle:
        np.save(handle, GREY.astype(">u2"))
    assert describe(tmp_path / "tiff.png") == ("YX", (12, 20), "uint8")
    assert describe(tmp_path / "array.tif") == ("YX", (12, 20), "uint16")
    assert read_header(tmp_path / "array.tif").dtype.isnative


def test_header_gives_size_and_channels(tmp_path: Path) -> None:
    """Height, width and channel count are the lengths of Y, X and C."""
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.dstack([GREY] * 3), photometric="rgb")
    header = read_header(path)
    assert (header.height_px, header.width_px, header.n_channels) == (12, 20, 3)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("fraction", [0.5, 0.95])
def test_header_detects_a_truncated_tiff(tmp_path: Path, options: dict, fraction: float) -> None:
    """Pixels that end past the end of the file are found without decoding."""
    path = tmp_path / "image.tif"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    tifffile.imwrite(path, noise, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(TileError, match=r"image\.tif is truncated.*export it again"):
        read_header(path)


def test_header_detects_a_truncated_stack_of_channels(tmp_path: Path) -> None:
    """The last channel of several counts as well as the first."""
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.stack([GREY] * 2), imagej=True, metadata={"axes": "CYX"})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TileError, match=r"image\.tif"):
        read_header(path)


def test_header_detects_a_truncated_array(tmp_path: Path) -> None:
    """A .npy file shorter than its header says is refused."""
    path = tmp_path / "image.npy"
    np.save(path, GREY)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TileError, match=r"image\.npy is truncated"):
        read_header(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "has 0 bytes"),
        (b"GIF89a----", "begins with none of their marks"),
        (b"II*\0", "truncated or corrupt"),
        (b"\x89PNG\r\n\x1a\n", "truncated in its header"),
        (b"\x93NUMPY\x01\x00", "truncated or corrupt"),
        (b"PK\x03\x04", "TIFF, PNG or NPY"),
    ],
)
def test_header_refuses_what_is_no_image(tmp_path: Path, content: bytes, found: str) -> None:
    """Empty, foreign and stub files get one line that names the file."""
    path = tmp_path / "bad_file.tif"
    path.write_bytes(content)
    with pytest.raises(TileError, match=found) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_header_refuses_a_missing_file(tmp_path: Path) -> None:
    """A missing file is a TileError that names it, like every other fault."""
    with pytest.raises(TileError, match=r"no file .*gone\.tif"):
        read_header(tmp_path / "gone.tif")


def test_header_never_loads_a_pickle(tmp_path: Path) -> None:
    """A pickled .npy is refused with the advice that a Cellpose _seg.npy needs."""
    path = tmp_path / "x_seg.npy"
    np.save(path, np.array({"masks": GREY}), allow_pickle=True)
    with pytest.raises(TileError, match=r"x_seg\.npy holds pickled.*_seg\.npy.*as TIFF"):
        read_header(path)


def test_header_refuses_several_images_in_one_file(tmp_path: Path) -> None:
    """Which of two differently sized images is meant is never guessed."""
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(GREY)
        writer.write(GREY[:6])
    with pytest.raises(TileError, match=r"two\.tif holds 2 "):
        read_header(path)


def test_fault_of_python_in_parsing_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .npy header that Python 3.11 failed to parse beside another thread is parsed again."""
    failures = iter([SystemError("AST constructor recursion depth mismatch")] * 2)

    def parse(handle: IO[bytes], **options: Any) -> Any:
        if (failure := next(failures, None)) is not None:
            raise failure
        return read_array_header_1_0(handle, **options)

    path = tmp_path / "image.npy"
    np.save(path, GREY)
    monkeypatch.setattr("numpy.lib.format.read_array_header_1_0", parse)
    assert ("YX", (12, 20), "uint8") == describe(path)
    assert [] == list(failures)
