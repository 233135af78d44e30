"""Label files in every container: the same labels from each, or a refusal that names the file."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from roifile import ROI_TYPE, ImagejRoi

from somaflow.errors import LabelsError
from somaflow.labels import check_labels_header, read_labels
from somaflow.labels.archives import fill_outline


@pytest.fixture
def labels() -> np.ndarray:
    """(24, 40) uint16 with three rectangles, 1..3."""
    image = np.zeros((24, 40), np.uint16)
    image[2:8, 3:9] = 1
    image[4:16, 20:26] = 2
    image[18:22, 5:15] = 3
    return image


def write_rois(path: Path, outlines: list[np.ndarray]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, outline in enumerate(outlines):
            roi = ImagejRoi.frompoints(np.asarray(outline, np.float32), name=f"{number:04d}")
            archive.writestr(f"{number:04d}.roi", roi.tobytes())
    return path


def write_pngs(path: Path, objects: list[np.ndarray]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._0.png", b"not a png")
        for number, inside in enumerate(objects):
            buffer = io.BytesIO()
            Image.fromarray(inside.astype(np.uint8) * 255).save(buffer, "PNG")
            archive.writestr(f"masks/{number}.png", buffer.getvalue())
    return path


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Corners of a rectangle as x, y, at pixel corners as ImageJ has them."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"imagej": True},
        {"photometric": "palette", "colormap": np.zeros((3, 65536), np.uint16)},
        {"photometric": "miniswhite"},
        {"byteorder": ">"},
    ],
)
def test_labels_of_a_tiff_are_its_stored_values(
    tmp_path: Path, labels: np.ndarray, options: dict
) -> None:
    """Colour maps and inverted display leave ids alone."""
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, labels, **options)
    read = read_labels(path, shape=(24, 40))
    np.testing.assert_array_equal(read, labels)
    assert read.dtype == np.uint32


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_of_a_png_and_an_array_are_its_values(
    tmp_path: Path, labels: np.ndarray, dtype: type
) -> None:
    """PNG and plain .npy give the same labels as TIFF."""
    Image.fromarray(labels.astype(dtype)).save(tmp_path / "labels.png")
    np.save(tmp_path / "labels.npy", labels.astype(dtype))
    for name in ("labels.png", "labels.npy"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), labels)


def test_roi_set_is_filled_as_imagej_fills_it(tmp_path: Path, labels: np.ndarray) -> None:
    """Outlines along pixel corners cover exactly the pixels within."""
    rois = write_rois(tmp_path / "r.zip", [box(2, 8, 3, 9), box(4, 16, 20, 26), box(18, 22, 5, 15)])
    np.testing.assert_array_equal(read_labels(rois, shape=(24, 40)), labels)


def test_roi_set_gives_overlaps_to_the_first(tmp_path: Path) -> None:
    """A pixel in two outlines belongs to the earlier one."""
    rois = write_rois(tmp_path / "r.zip", [box(0, 6, 0, 6), box(0, 6, 4, 10)])
    expected = np.zeros((6, 12), np.uint32)
    expected[:, 0:6] = 1
    expected[:, 6:10] = 2
    np.testing.assert_array_equal(read_labels(rois, shape=(6, 12)), expected)


def test_roi_set_needs_the_shape_of_its_image(tmp_path: Path) -> None:
    """A RoiSet does not know how large its image is, and that is not guessed."""
    rois = write_rois(tmp_path / "r.zip", [box(0, 6, 0, 6)])
    with pytest.raises(LabelsError, match=r"r\.zip; pass shape=\(Y, X\)"):
        read_labels(rois)


@pytest.mark.parametrize("outline", [box(0, 6, 50, 60), box(1, 5, 1, 5)])
def test_roi_without_a_pixel_of_its_own_is_refused(tmp_path: Path, outline: np.ndarray) -> None:
    """An outline outside the image or under an earlier one would be a cell nobody can count."""
    rois = write_rois(tmp_path / "r.zip", [box(0, 6, 0, 6), outline])
    with pytest.raises(LabelsError, match=r"0001\.roi in .*r\.zip lies outside"):
        read_labels(rois, shape=(24, 40))


def test_roi_that_is_a_point_is_refused(tmp_path: Path) -> None:
    """Counting marks have no area."""
    roi = ImagejRoi.frompoints(np.array([[3.0, 4.0]]))
    roi.roitype = ROI_TYPE.POINT
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("a.roi", roi.tobytes())
    with pytest.raises(LabelsError, match=r"a\.roi in .*r\.zip is a point"):
        read_labels(tmp_path / "r.zip", shape=(24, 40))


def test_rectangle_and_oval_rois_are_filled(tmp_path: Path) -> None:
    """Shapes without vertices are filled too; an oval covers about pi/4 of its box."""
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        for name, kind, left in (("a", ROI_TYPE.RECT, 0), ("b", ROI_TYPE.OVAL, 30)):
            roi = ImagejRoi(roitype=kind, left=left, right=left + 20, top=0, bottom=20)
            archive.writestr(f"{name}.roi", roi.tobytes())
    labels = read_labels(tmp_path / "r.zip", shape=(20, 60))
    assert (labels == 1).sum() == 400
    assert (labels == 2).sum() == pytest.approx(np.pi / 4 * 400, rel=0.03)


def test_filled_outline_has_its_area(tmp_path: Path) -> None:
    """A triangle over half of a square covers half of its pixels, and a hole is left out."""
    triangle = fill_outline([np.array([[0, 0], [100, 0], [0, 100]])], (100, 100))
    assert triangle.sum() == pytest.approx(5000, abs=51)
    ring = fill_outline([box(0, 10, 0, 10), box(3, 7, 3, 7)], (10, 10))
    assert ring.sum() == 100 - 16


def test_one_png_per_object_is_numbered_in_its_order(tmp_path: Path, labels: np.ndarray) -> None:
    """Objects are 1..N in the order of the archive; macOS's own entries are left out."""
    path = write_pngs(tmp_path / "objects.zip", [labels == number for number in (1, 2, 3)])
    np.testing.assert_array_equal(read_labels(path, shape=(24, 40)), labels)


def test_one_png_per_object_must_have_one_shape(tmp_path: Path, labels: np.ndarray) -> None:
    """A PNG of another size in the archive is named."""
    path = write_pngs(tmp_path / "objects.zip", [labels == 1, (labels == 2)[:-1]])
    with pytest.raises(LabelsError, match=r"masks/1\.png in .*objects\.zip is \(23, 40\)"):
        read_labels(path)


@pytest.mark.parametrize(
    ("names", "found"),
    [(["a.roi", "b.png"], r"\.png, \.roi"), (["a.txt"], r"\.txt"), ([], "nothing")],
)
def test_archive_of_other_files_is_refused(tmp_path: Path, names: list[str], found: str) -> None:
    """Mixed, foreign and empty archives are told by what they hold."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    with pytest.raises(LabelsError, match=rf"a\.zip holds {found}"):
        read_labels(tmp_path / "a.zip", shape=(24, 40))


@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_truncated_archive_is_refused(tmp_path: Path, labels: np.ndarray, fraction: float) -> None:
    """Half a zip names itself."""
    path = write_pngs(tmp_path / "objects.zip", [labels == 1, labels == 2])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(LabelsError, match=r"objects\.zip is truncated or corrupt"):
        read_labels(path)


def test_corrupt_roi_is_refused(tmp_path: Path) -> None:
    """A .roi that is none is named with its archive."""
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("a.roi", b"no roi at all")
    with pytest.raises(LabelsError, match=r"a\.roi in .*r\.zip is corrupt"):
        read_labels(tmp_path / "r.zip", shape=(24, 40))


def test_renumbered_labels_are_1_to_n_in_order(tmp_path: Path, labels: np.ndarray) -> None:
    """Ids with gaps, even beyond 65535, are renumbered on request and not wrapped."""
    path = tmp_path / "gaps.tif"
    tifffile.imwrite(path, labels.astype(np.int64) * 70_001)
    np.testing.assert_array_equal(read_labels(path, renumber=True), labels)
    with pytest.raises(LabelsError, match=r"gaps\.tif has 3 cells and the largest id 210003"):
        read_labels(path)


def test_empty_labels_are_legal(tmp_path: Path) -> None:
    """An annotator who found no cell has annotated."""
    tifffile.imwrite(tmp_path / "none.tif", np.zeros((24, 40), np.uint16))
    for renumber in (False, True):
        assert read_labels(tmp_path / "none.tif", (24, 40), renumber).max() == 0


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.tif", b"", "has 0 bytes"),
        ("a.npy", b"", "has 0 bytes"),
        ("a.tif", b"II*\0", "truncated or corrupt"),
        ("a.csv", b"1,2,3", "TIFF, PNG or NPY"),
    ],
)
def test_label_file_that_is_none_is_refused(
    tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    """Empty, cut and foreign label files are LabelsErrors that name the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LabelsError, match=found) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)
    with pytest.raises(LabelsError, match=found):
        check_labels_header(path, (24, 40))


def test_pickled_labels_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    """A Cellpose _seg.npy is never unpickled; the message says what to save instead."""
    np.save(tmp_path / "x_seg.npy", np.array({"masks": labels}), allow_pickle=True)
    with pytest.raises(LabelsError, match=r"x_seg\.npy holds pickled.*masks.*as TIFF"):
        read_labels(tmp_path / "x_seg.npy")


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (np.zeros((23, 40), np.uint16), r"\(23, 40\)"),
        (np.zeros((24, 40), np.float32), "float32"),
        (np.zeros((24, 40, 3), np.uint8), "colour"),
    ],
)
def test_label_header_shows_what_does_not_fit(
    tmp_path: Path, stored: np.ndarray, found: str
) -> None:
    """Shape and type are checked before a run starts, without decoding."""
    tifffile.imwrite(tmp_path / "l.tif", stored)
    with pytest.raises(LabelsError, match=found):
        check_labels_header(tmp_path / "l.tif", (24, 40))
