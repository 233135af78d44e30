"""Planes: the values that were measured, or a refusal that says what to do."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from somaflow.errors import TileError
from somaflow.images import read_plane

GREY = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)


def write(path: Path, stored: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, stored, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16), "compression": "zlib"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 5},
        {"imagej": True},
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_plane_equals_what_was_written(tmp_path: Path, options: dict, dtype: type) -> None:
    """Compression, tiling, BigTIFF and byte order leave values and type as they are."""
    plane = read_plane(write(tmp_path / "a.tif", GREY.astype(dtype), **options))
    np.testing.assert_array_equal(plane, GREY.astype(dtype))
    assert plane.dtype == dtype
    assert plane.dtype.isnative


def test_plane_of_grey_stored_as_rgb_is_that_grey(tmp_path: Path) -> None:
    """Three equal channels, with or without alpha, are one grey plane."""
    rgb = write(tmp_path / "rgb.tif", np.dstack([GREY] * 3), photometric="rgb")
    alpha = np.full_like(GREY, 255)
    rgba = tmp_path / "rgba.png"
    Image.fromarray(np.dstack([GREY, GREY, GREY, alpha]), "RGBA").save(rgba)
    np.testing.assert_array_equal(read_plane(rgb), GREY)
    np.testing.assert_array_equal(read_plane(rgba), GREY)


def test_plane_of_colour_must_be_named(tmp_path: Path) -> None:
    """Channels that differ in a single pixel are refused until one is named."""
    colour = np.dstack([GREY] * 3)
    colour[3, 4, 2] += 1
    path = write(tmp_path / "colour.tif", colour, photometric="rgb")
    with pytest.raises(TileError, match=r"colour\.tif has 3 .*channel=0\.\.2"):
        read_plane(path)
    np.testing.assert_array_equal(read_plane(path, channel=2), colour[..., 2])


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "CYX"}},
        {"ome": True, "metadata": {"axes": "CYX"}},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "minisblack"},
    ],
)
def test_plane_of_several_channels_must_be_named(tmp_path: Path, options: dict) -> None:
    """A (C, Y, X) file gives the named channel, and without a name the way to name one."""
    stored = np.stack([GREY, GREY + 1])
    path = write(tmp_path / "two.tif", stored, **options)
    np.testing.assert_array_equal(read_plane(path, channel=1), stored[1])
    with pytest.raises(TileError, match=r"two\.tif has 2 .*channel=0\.\.1"):
        read_plane(path)
    with pytest.raises(TileError, match=r"channel must be 0\.\.1, got 2 for .*two\.tif"):
        read_plane(path, channel=2)


def test_plane_of_a_palette_is_as_stored(tmp_path: Path) -> None:
    """The colour map of a TIFF or PNG is never applied."""
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256), np.uint16)
    tiff = write(tmp_path / "p.tif", GREY, photometric="palette", colormap=colours)
    png = tmp_path / "p.png"
    image = Image.fromarray(GREY)
    image.putpalette((colours // 257).T.astype(np.uint8).tobytes())
    image.save(png)
    np.testing.assert_array_equal(read_plane(tiff), GREY)
    np.testing.assert_array_equal(read_plane(png), GREY)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_plane_stored_inverted_is_turned_back(tmp_path: Path, dtype: type) -> None:
    """0-is-white files give the same intensities as their 0-is-black original."""
    inverted = (np.iinfo(dtype).max - GREY.astype(dtype)).astype(dtype)
    path = write(tmp_path / "white.tif", inverted, photometric="miniswhite")
    np.testing.assert_array_equal(read_plane(path), GREY)


@pytest.mark.parametrize("bits", [2, 4])
def test_plane_of_a_png_with_few_bits_is_as_stored(tmp_path: Path, bits: int) -> None:
    """2- and 4-bit grey is not stretched to 8 bits."""
    values = (GREY % 2**bits).astype(np.uint8)
    path = tmp_path / "few.png"
    write_grey_png(path, values, bits)
    np.testing.assert_array_equal(read_plane(path), values)


def write_grey_png(path: Path, values: np.ndarray, bits: int) -> None:
    """Writes a grey PNG of a bit depth that Pillow reads but does not write."""
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    height, width = values.shape
    shifts = np.arange(bits - 1, -1, -1)
    rows = [
        b"\0" + np.packbits(((row[:, None] >> shifts) & 1).astype(np.uint8)).tobytes()
        for row in values
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def test_plane_of_a_z_stack_is_refused_even_if_named(tmp_path: Path) -> None:
    """A z-stack is never taken for channels."""
    stack = np.stack([GREY] * 3)
    path = write(tmp_path / "z.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    for channel in (None, 0):
        with pytest.raises(TileError, match=r"z\.tif is a ZYX stack"):
            read_plane(path, channel=channel)


def test_plane_with_nan_or_inf_is_refused_with_their_number(tmp_path: Path) -> None:
    """Pixels that are no number are counted and named, never filled in."""
    bad = GREY.astype(np.float32)
    bad[0, :3] = np.nan
    bad[1, 0] = -np.inf
    path = write(tmp_path / "nan.tif", bad)
    with pytest.raises(TileError, match=r"nan\.tif has 3 NaN and 1 infinite of 240 pixels; "):
        read_plane(path)


@pytest.mark.parametrize("value", [0, 7])
def test_plane_may_be_constant_or_negative(tmp_path: Path, value: int) -> None:
    """Empty fields and background-corrected floats are legal images."""
    constant = np.full((12, 20), value, np.uint8)
    negative = GREY.astype(np.float32) - 100
    np.testing.assert_array_equal(read_plane(write(tmp_path / "c.tif", constant)), constant)
    np.testing.assert_array_equal(read_plane(write(tmp_path / "n.tif", negative)), negative)


def test_plane_with_a_signed_offset_is_refused_until_the_offset_is_given(tmp_path: Path) -> None:
    """The scanR trap is named with its cure, and the cure gives the measured values."""
    path = write(tmp_path / "scanr.tif", GREY.astype(np.uint16) + 32768)
    with pytest.raises(TileError, match=r"scanr\.tif starts at 32768 .*pixel_offset: 32768"):
        read_plane(path)
    np.testing.assert_array_equal(read_plane(path, offset=32768), GREY)


def test_plane_below_its_offset_is_refused(tmp_path: Path) -> None:
    """An offset that some pixel does not reach would wrap around, so it is refused."""
    path = write(tmp_path / "low.tif", GREY.astype(np.uint16))
    with pytest.raises(TileError, match=r"offset 32768, .*low\.tif goes down to 0"):
        read_plane(path, offset=32768)


def test_plane_of_yes_and_no_is_refused(tmp_path: Path) -> None:
    """A bilevel image is a mask, not a measurement."""
    path = write(tmp_path / "bits.tif", GREY > 5)
    with pytest.raises(TileError, match=r"bits\.tif holds bool"):
        read_plane(path)


def test_plane_with_corrupt_pixels_is_refused(tmp_path: Path) -> None:
    """Data of the right length that does not decode names the file and the way out."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    path = write(tmp_path / "corrupt.tif", noise, compression="zlib")
    content = bytearray(path.read_bytes())
    content[-2000:] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(TileError, match=r"corrupt\.tif is truncated or corrupt.*export it again"):
        read_plane(path)


def test_plane_larger_than_memory_is_refused(tmp_path: Path) -> None:
    """A corrupt size of some petabytes is the file's fault, not a crash of the run."""
    path = write(tmp_path / "huge.tif", GREY, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tags[name].overwrite(2**27)
    with pytest.raises(TileError, match=r"huge\.tif"):
        read_plane(path)


def test_plane_of_a_truncated_png_is_refused(tmp_path: Path) -> None:
    """A PNG cut in its pixels is refused, never padded."""
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(TileError, match=r"cut\.png is truncated"):
        read_plane(path)


def test_plane_of_a_plain_array_is_that_array(tmp_path: Path) -> None:
    """A plain 2-D .npy is an image; a 3-D one does not say what its axes are."""
    np.save(tmp_path / "a.npy", np.asfortranarray(GREY))
    np.save(tmp_path / "b.npy", np.stack([GREY] * 2))
    np.testing.assert_array_equal(read_plane(tmp_path / "a.npy"), GREY)
    with pytest.raises(TileError, match=r"b\.npy has shape \(2, 12, 20\)"):
        read_plane(tmp_path / "b.npy")


@given(
    height=st.integers(1, 40),
    width=st.integers(5, 40),  # a TIFF page of 3 or 4 px width would be taken for colour
    big=st.booleans(),
    compression=st.sampled_from([None, "zlib", "lzw"]),
    seed=st.integers(0, 99),
)
def test_plane_round_trips_any_size(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    big: bool,
    compression: str | None,
    seed: int,
) -> None:
    """Any grey image comes back as written, whatever its size, byte order or compression."""
    image = np.random.default_rng(seed).integers(0, 30_000, (height, width), np.uint16)
    path = tmp_path_factory.mktemp("any") / "any.tif"
    write(path, image, byteorder=">" if big else "<", compression=compression)
    np.testing.assert_array_equal(read_plane(path), image)


@pytest.mark.parametrize(
    ("stored", "options", "channel"),
    [
        (GREY, {}, None),
        (GREY, {"compression": "lzw"}, None),
        (GREY, {"tile": (16, 16), "compression": "zlib"}, None),
        (np.stack([GREY, GREY + 1]), {"imagej": True, "metadata": {"axes": "CYX"}}, 0),
        (np.stack([GREY, GREY + 1]), {"ome": True, "metadata": {"axes": "CYX"}}, 0),
        (np.stack([GREY, GREY + 1]), {"photometric": "minisblack"}, 0),
    ],
)
def test_plane_of_a_file_cut_anywhere_is_never_wrong(
    tmp_path: Path, stored: np.ndarray, options: dict, channel: int | None
) -> None:
    """Wherever a copy was interrupted: refused, or only a remark behind the last pixel is gone."""
    whole = write(tmp_path / "whole.tif", stored, **options).read_bytes()
    path = tmp_path / "cut.tif"
    n_refused = 0
    lengths = range(0, len(whole), 11)
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            plane = read_plane(path, channel=channel)
        except TileError as error:
            assert str(path) in str(error)
            n_refused += 1
        else:
            np.testing.assert_array_equal(plane, GREY)
        if channel is not None:
            with pytest.raises(TileError, match=r"cut\.tif"):
                read_plane(path)
    assert n_refused >= len(lengths) / 2
