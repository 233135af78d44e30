"""Real label files: every human one is read, every awkward one read right or refused."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from somaflow.errors import LabelsError
from somaflow.labels import read_labels

# Number of cells, or words of the refusal; True = renumbered.
EXPECTED: dict[tuple[str, bool], int | str] = {
    ("labels_uint8_palette.tif", False): 7,
    ("mask_cellbodies.npy", False): "9 cells and the largest id 33",
    ("mask_cellbodies.npy", True): 9,
    ("mask_empty_uint16.tif", False): 0,
    ("mask_int64_gaps.tif", False): "9 cells and the largest id 330231",
    ("mask_int64_gaps.tif", True): 9,
    ("mask_float32.tif", True): "save it as an integer type",
    ("mask_uint8_wrapped.tif", True): "wrapped past 255",
    ("mask_pickled_object.npy", True): "holds pickled",
    ("binary_mask_0_255.png", True): "single value 255 in 133 separate parts",
    ("outlines_rgb_uint16.tiff", True): "outlines",
    ("empty_file.tif", True): "has 0 bytes",
    ("truncated.tif", True): "is truncated",
    ("RoiSet_CellBodies.zip", False): "pass shape",
    ("per_object_masks/30f65741_masks_one_png_per_object.zip", False): 28,
    ("zyx_uint8_7pages.tif", True): "stack",
    ("rgba_uint8_260x347.png", True): "colour",
}


@pytest.mark.parametrize(("name", "renumber"), EXPECTED)
def test_awkward_labels_are_read_or_refused_in_one_line(
    shared_data: Path, name: str, renumber: bool
) -> None:
    """Every awkward label file gives its number of cells, or one line that names it."""
    path = shared_data / "awkward" / name
    expected = EXPECTED[name, renumber]
    if isinstance(expected, int):
        labels = read_labels(path, renumber=renumber)
        assert labels.dtype == np.uint32
        assert list(np.unique(labels[labels > 0])) == list(range(1, expected + 1))
        return
    with pytest.raises(LabelsError) as caught:
        read_labels(path, renumber=renumber)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_one_row_short_are_refused(shared_data: Path) -> None:
    """The file of another shape is refused, never cropped, renumbered or not."""
    path = shared_data / "awkward" / "mask_shape_mismatch.tif"
    with pytest.raises(LabelsError, match=r"\(260, 347\).*\(259, 347\).*never cropped"):
        read_labels(path, shape=(260, 347), renumber=True)


def test_roi_set_equals_the_labels_it_was_made_from(shared_data: Path) -> None:
    """ImageJ outlines give back every pixel of the nine cells, in the same order."""
    awkward = shared_data / "awkward"
    from_rois = read_labels(awkward / "RoiSet_CellBodies.zip", shape=(260, 347))
    from_array = read_labels(awkward / "mask_cellbodies.npy", renumber=True)
    np.testing.assert_array_equal(from_rois, from_array)


def test_one_png_per_object_equals_the_label_image(shared_data: Path) -> None:
    """The archive of single nuclei holds the same objects as the label image of its field."""
    archive = shared_data / "awkward" / "per_object_masks"
    labels = read_labels(archive / "30f65741_masks_one_png_per_object.zip", shape=(256, 256))
    image = tifffile.imread(shared_data / "real-dev" / "dsb_nuc_30f65741_masks.tif")
    pairs = np.unique(np.stack([labels.ravel(), image.ravel()]), axis=1).T
    assert len(pairs) == 29  # background and 28 nuclei, one to one
    np.testing.assert_array_equal(labels > 0, image > 0)


def test_palette_labels_are_not_coloured(shared_data: Path) -> None:
    """The stored indices are the ids."""
    path = shared_data / "awkward" / "labels_uint8_palette.tif"
    np.testing.assert_array_equal(read_labels(path), tifffile.imread(path))


def test_every_human_label_file_is_read(shared_data: Path) -> None:
    """All 81 consensus and single-expert label images pass, among them four with a cut cell."""
    folder = shared_data / "real-dev"
    paths = [*folder.glob("*_masks.tif"), *(folder / "experts").glob("*_masks.tif")]
    assert len(paths) == 81
    for path in paths:
        stored = tifffile.imread(path)
        np.testing.assert_array_equal(read_labels(path, shape=stored.shape), stored)
