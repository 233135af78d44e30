"""Real files as users have them: each one is read right or refused in one line that names it."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from somaflow.errors import TileError
from somaflow.images import read_plane

# Files that are images: smallest and largest value, or the words of the refusal.
EXPECTED: dict[str, tuple[str, float, float] | str] = {
    "bigendian_uint16.tif": ("uint16", 2827, 46260),
    "bigtiff_lzw_uint8.tif": ("uint8", 9, 180),
    "constant_zero.tif": ("uint8", 0, 0),
    "cyx_uint16_2ch_imagej.tif": "has 2 (axes CYX",
    "cyx_uint8_2ch_palette.tif": "has 2 (axes CYX",
    "empty_file.tif": "has 0 bytes",
    "float32_nan_inf.tif": "has 1 NaN and 1 infinite",
    "float32_negative_42x60.tif": ("float32", -2.0430002212524414, 244.95700073242188),
    "float32_probability_50x59.tif": ("float32", 0, 1),
    "labels_image.tif": ("uint8", 17, 66),
    "lzw_uint16_cellpainting_ch5.tif": ("uint16", 518, 37025),
    "miniswhite_uint8.tif": ("uint8", 11, 180),
    "offset_uint16_32768.tif": "pixel_offset: 32768",
    "ome_cyx_uint16.ome.tif": "has 2 (axes CYX",
    "outlines_rgb_uint16.tiff": "has 3 (axes YXC",
    "rgb_uint8_imagej.tif": "has 3 (axes YXC",
    "rgba_uint8_260x347.png": ("uint8", 3, 255),
    "tiff_named.png": "has 3 (axes YXC",
    "tiled_deflate_uint8.tif": ("uint8", 9, 180),
    "truncated.tif": "is truncated",
    "yxc_uint8_grey_as_rgb.tif": ("uint8", 11, 180),
    "zyx_uint8_7pages.tif": "is a ZYX stack",
}


@pytest.fixture
def awkward(shared_data: Path) -> Path:
    return shared_data / "awkward"


@pytest.fixture
def original(awkward: Path) -> np.ndarray:
    """The (260, 347) uint8 field that was re-encoded, as an independent decoder reads it."""
    return np.asarray(Image.open(awkward / "yxc_uint8_grey_as_rgb.tif"))[..., 0]


@pytest.mark.parametrize("name", EXPECTED)
def test_awkward_image_is_read_or_refused_in_one_line(awkward: Path, name: str) -> None:
    """Every awkward image has the values it should, or a refusal that names it."""
    expected = EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(TileError) as caught:
            read_plane(awkward / name)
        assert expected in str(caught.value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        plane = read_plane(awkward / name)
        assert (str(plane.dtype), plane.min(), plane.max()) == expected
        assert plane.ndim == 2


def test_awkward_images_are_all_covered(awkward: Path) -> None:
    """No awkward image is left out of the table above (labels have their own tests)."""
    names = {path.name for path in awkward.iterdir() if path.suffix in (".tif", ".tiff", ".png")}
    labels = {name for name in names if "mask" in name or name == "labels_uint8_palette.tif"}
    assert names - labels == set(EXPECTED)


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("miniswhite_uint8.tif", 0),
        ("bigtiff_lzw_uint8.tif", 0),
        ("tiled_deflate_uint8.tif", 0),
        ("yxc_uint8_grey_as_rgb.tif", 0),
        ("offset_uint16_32768.tif", 32768),
    ],
)
def test_re_encoded_pixels_equal_their_original(
    awkward: Path, original: np.ndarray, name: str, offset: int
) -> None:
    """Inverted, tiled, compressed, coloured or shifted: the pixels are those of the original."""
    plane = read_plane(awkward / name, offset=offset)
    height, width = min(plane.shape, original.shape)
    np.testing.assert_array_equal(plane[:height, :width], original[:height, :width])
    assert height >= 200


def test_big_endian_pixels_equal_their_original(awkward: Path, original: np.ndarray) -> None:
    """Big-endian 16-bit data holds the original, stretched by the factor of the full range."""
    plane = read_plane(awkward / "bigendian_uint16.tif")
    np.testing.assert_array_equal(plane, original[:200, :300].astype(np.uint16) * 257)


@pytest.mark.parametrize("name", ["cyx_uint16_2ch_imagej.tif", "ome_cyx_uint16.ome.tif"])
def test_named_channels_equal_tifffiles(awkward: Path, name: str) -> None:
    """Each channel of a declared (C, Y, X) file is the one tifffile decodes."""
    stored = tifffile.imread(awkward / name)
    for channel in range(2):
        np.testing.assert_array_equal(read_plane(awkward / name, channel), stored[channel])


def test_rgba_png_equals_the_same_field_elsewhere(awkward: Path, shared_data: Path) -> None:
    """The PNG's grey is the one of the same field in the other data set."""
    field = tifffile.imread(shared_data / "real-dev" / "dsb_nuc_0402a81e_img.tif")
    np.testing.assert_array_equal(read_plane(awkward / "rgba_uint8_260x347.png"), field)


def test_real_images_of_one_channel_equal_tifffiles(shared_data: Path) -> None:
    """All single-channel real images are read as they are."""
    paths = sorted((shared_data / "real-dev").glob("*_img.tif"))
    n_read = 0
    for path in paths:
        stored = tifffile.imread(path)
        if stored.ndim == 2:
            np.testing.assert_array_equal(read_plane(path), stored)
            n_read += 1
    assert n_read > 30
