"""Zip archives of objects: an ImageJ RoiSet, or one PNG per object. Overlaps go to the first."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image
from roifile import ROI_TYPE, ImagejRoi

from somaflow.errors import LabelsError

_OUTLINES = (
    ROI_TYPE.POLYGON,
    ROI_TYPE.FREEHAND,
    ROI_TYPE.TRACED,
    ROI_TYPE.RECT,  # composite outlines are stored under this type too
    ROI_TYPE.OVAL,
)
_SAVE_AGAIN = "save the archive again"


def read_archive(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    """Labels of a zip archive; objects are numbered in the order of the archive.

    Args:
        path: zip of .roi files, or of PNG files of one object each.
        shape: (Y, X) px of the image; needed for .roi files.

    Returns:
        (Y, X) uint32, 0 = background. A pixel in two objects belongs to the first.

    Raises:
        LabelsError: if the archive is damaged, holds other or mixed files, or an object has no
            pixel to itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _is_content(name)]
            kinds = {PurePosixPath(name).suffix.lower() for name in names}
            if kinds == {".roi"}:
                objects = _iterate_rois(path, archive, names, shape)
            elif kinds == {".png"}:
                objects = _iterate_pngs(path, archive, names)
            else:
                raise LabelsError(
                    f"label archive must hold .roi files or PNG files alone, {path} holds "
                    f"{', '.join(sorted(kinds)) or 'nothing'}; {_SAVE_AGAIN}"
                )
            return _paint(path, objects)
    except (zipfile.BadZipFile, EOFError) as error:
        raise LabelsError(
            f"label archive must be whole, {path} is truncated or corrupt: {error}; {_SAVE_AGAIN}"
        ) from error


def fill_outline(outlines: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels inside an ImageJ outline: those whose centre is, a centre being (x + 0.5, y + 0.5).

    Args:
        outlines: (N, 2) vertices as x, y in px; a hole is one more outline inside (even-odd rule).
        shape: (Y, X) px of the image; what lies outside is left out.

    Returns:
        (Y, X) bool.
    """
    inside = np.zeros(shape, bool)
    y_centres, x_centres = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    for outline in outlines:
        starts = np.asarray(outline, float)
        for (x0, y0), (x1, y1) in zip(starts, np.roll(starts, -1, axis=0), strict=True):
            rows = np.flatnonzero((y_centres >= min(y0, y1)) & (y_centres < max(y0, y1)))
            if len(rows):  # a horizontal edge crosses no row of centres
                crossings = x0 + (y_centres[rows] - y0) * (x1 - x0) / (y1 - y0)
                inside[rows] ^= x_centres[None, :] >= crossings[:, None]
    return inside


def _is_content(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not name.endswith("/") and "__MACOSX" not in parts and not parts[-1].startswith(".")


def _iterate_rois(
    path: Path, archive: zipfile.ZipFile, names: list[str], shape: tuple[int, int] | None
) -> Iterator[tuple[str, np.ndarray]]:
    if shape is None:
        raise LabelsError(
            f"a RoiSet needs the shape of its image, none was given for {path}; pass shape=(Y, X)"
        )
    for name in names:
        try:
            roi = ImagejRoi.frombytes(archive.read(name))
            outlines: Any = roi.coordinates(multi=True)
        except (ValueError, IndexError, TypeError) as error:
            raise LabelsError(
                f"label archive must be whole, {name} in {path} is corrupt: {error}; {_SAVE_AGAIN}"
            ) from error
        if roi.roitype not in _OUTLINES:
            raise LabelsError(
                f"every ROI must be an outline that can be filled, {name} in {path} is a "
                f"{roi.roitype.name.lower()}; take it out of the RoiSet"
            )
        yield name, fill_outline(outlines, shape)


def _iterate_pngs(
    path: Path, archive: zipfile.ZipFile, names: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    for name in names:
        try:
            with Image.open(io.BytesIO(archive.read(name)), formats=["PNG"]) as image:
                inside = np.asarray(image) > 0
        except (OSError, SyntaxError) as error:
            raise LabelsError(
                f"label archive must be whole, {name} in {path} is corrupt: {error}; {_SAVE_AGAIN}"
            ) from error
        if inside.ndim != 2:
            raise LabelsError(
                f"each PNG of an archive must be one grey object, {name} in {path} has shape "
                f"{inside.shape}; save it as grey"
            )
        yield name, inside


def _paint(path: Path, objects: Iterator[tuple[str, np.ndarray]]) -> np.ndarray:
    labels: np.ndarray | None = None
    for number, (name, inside) in enumerate(objects, start=1):
        if labels is None:
            labels = np.zeros(inside.shape, np.uint32)
        if inside.shape != labels.shape:
            raise LabelsError(
                f"all objects of an archive must have one shape, {name} in {path} is "
                f"{inside.shape} and the first {labels.shape}; {_SAVE_AGAIN}"
            )
        own = inside & (labels == 0)
        if not own.any():
            raise LabelsError(
                f"every object must have pixels of its own, {name} in {path} lies outside the "
                "image or under earlier ones; take it out, or pass the archive of this image"
            )
        labels[own] = number
    assert labels is not None  # an archive without content was refused before
    return labels
