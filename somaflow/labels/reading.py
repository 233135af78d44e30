"""Label files of every kind that annotators deliver, read into (Y, X) uint32."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from somaflow.errors import LabelsError, TileError
from somaflow.images.formats import read_header, read_stored, sniff_format
from somaflow.labels.archives import read_archive
from somaflow.labels.checks import check_labels, check_labels_type, compact_labels


def read_labels(
    path: Path | str, shape: tuple[int, int] | None = None, renumber: bool = False
) -> np.ndarray:
    """The instance labels of a file, checked.

    Args:
        path: .npy, TIFF or PNG label image, ImageJ RoiSet zip, or a zip of one PNG per object.
        shape: (Y, X) px that the labels must have; needed for a RoiSet, which does not know it.
        renumber: number ids with gaps 1..N in their order, instead of refusing them.

    Returns:
        (Y, X) uint32, 0 = background, cells 1..N.

    Raises:
        LabelsError: if the file is not a whole label image of that shape; the line names the file.
    """
    path = Path(path)
    if _sniff(path) == "zip":
        labels = read_archive(path, shape)
    else:
        labels = _read_stored_labels(path, shape)
    check_labels(labels, path, shape, allow_gaps=renumber)
    if renumber:
        labels = compact_labels(labels)[1]
    return labels.astype(np.uint32, copy=False)


def check_labels_header(path: Path | str, shape: tuple[int, int]) -> None:
    """Refuses a label file whose header alone shows that it does not fit, without decoding it.

    Args:
        path: a label file; of an archive only the first bytes are looked at.
        shape: (Y, X) px of the tile.

    Raises:
        LabelsError: as `read_labels`, as far as the header goes.
    """
    path = Path(path)
    if _sniff(path) == "zip":
        return
    with _saying_labels():
        header = read_header(path)
    check_labels_type(header.shape, header.dtype, path, shape)


def _read_stored_labels(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    with _saying_labels():
        # Ids are values, not brightness: 0-is-white is left as stored, like a colour map.
        _, stored = read_stored(path)
    check_labels_type(stored.shape, stored.dtype, path, shape)
    return stored


def _sniff(path: Path) -> str:
    with _saying_labels():
        return sniff_format(path)


@contextmanager
def _saying_labels() -> Iterator[None]:
    """Turns what is wrong with a file as an image into what is wrong with it as labels."""
    try:
        yield
    except TileError as error:
        raise LabelsError(str(error).replace("image must", "label file must", 1)) from error
