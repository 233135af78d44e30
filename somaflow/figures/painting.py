"""Tiles as screen pixels: both channels in colour, and the outlines of cells on them.

Enters: images (2, Y, X) and labels (Y, X). Leaves: (h, w, 3) pixels. Refuses labels of another
shape than their image.
"""

from collections.abc import Sequence

import numpy as np

from somaflow.errors import LabelsError, TileError

PREDICTED_COLOUR = (255, 176, 0)
REFERENCE_COLOUR = (255, 64, 255)
# DAPI may not hide the marker, nor the outlines: a blue that leaves red free, and grey.
_DAPI_TINT = np.array([0.16, 0.38, 1.0])
_MARKER_TINT = np.array([0.80, 0.88, 0.80])
_STRETCH_PERCENT = (1.0, 99.8)
# A line of one px vanishes on ground of its own brightness without darker pixels beside it.
_CASING_BRIGHTNESS = 0.35


def check_panel(
    image: np.ndarray, labels: np.ndarray, reference: np.ndarray | None, title: str
) -> None:
    """Refuses labels that do not fit their image.

    Raises:
        TileError: if the image is not (2, Y, X).
        LabelsError: if labels and image differ in shape.
    """
    if image.ndim != 3 or len(image) != 2:
        raise TileError(
            f"an image to draw must be (2, Y, X), DAPI and marker, got {image.shape} ({title}); "
            "pass zeros for an absent channel"
        )
    for name, array in (("predicted", labels), ("reference", reference)):
        if array is not None and (array.shape != image.shape[1:] or array.dtype.kind not in "ui"):
            raise LabelsError(
                f"{name} labels must be integers of the image's shape {image.shape[1:]}, got "
                f"{array.shape} {array.dtype} ({title}); pass the labels of this tile"
            )


def compose_image(image: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, str]:
    """(h, w, 3) float32 in 0-1 at the wanted size, and which channel has which colour."""
    dapi, marker = (_resize_image(_stretch(plane), shape) for plane in image)
    present = [float(plane.max()) > float(plane.min()) for plane in image]
    if present == [True, False]:
        return np.repeat(dapi[:, :, None], 3, axis=2), "DAPI grey, no marker"
    if present == [False, True]:
        return np.repeat(marker[:, :, None], 3, axis=2), "marker grey, no DAPI"
    mixed = dapi[:, :, None] * _DAPI_TINT + marker[:, :, None] * _MARKER_TINT
    return np.clip(mixed, 0, 1).astype(np.float32), "DAPI blue, marker grey"


def resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour, so that ids stay ids."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(shape, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def trace_outlines(labels: np.ndarray, inside: bool) -> np.ndarray:
    """(h, w) bool: a closed line of one px just inside, or just outside, every cell.

    Where two cells touch, the line outside is drawn once, on the side of the lower id.
    """
    padded = np.pad(labels, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    line = np.zeros(labels.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        neighbour = padded[dy : dy + labels.shape[0], dx : dx + labels.shape[1]]
        line |= (centre > 0) & (neighbour != centre) if inside else neighbour > centre
    return line


def paint_outlines(
    pixels: np.ndarray, outlines: Sequence[tuple[np.ndarray, tuple[int, int, int]]]
) -> np.ndarray:
    """(h, w, 3) uint8: the outlines, in order, on the image, with darkened pixels beside them."""
    painted = (pixels * 255).round().astype(np.uint8)
    lines = np.logical_or.reduce([line for line, _ in outlines])
    padded = np.pad(lines, 1)
    beside = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    beside &= ~lines
    painted[beside] = (painted[beside] * _CASING_BRIGHTNESS).astype(np.uint8)
    for line, colour in outlines:
        painted[line] = colour
    return painted


def count_cells(labels: np.ndarray) -> int:
    """Number of cells in labels (Y, X)."""
    return int(np.count_nonzero(np.unique(labels)))


def hex_colour(colour: tuple[int, int, int]) -> str:
    """A colour as matplotlib and web pages write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _stretch(plane: np.ndarray) -> np.ndarray:
    """The plane as float32 in 0-1, its darkest and brightest pixels clipped."""
    plane = np.nan_to_num(plane.astype(np.float32))
    low, high = np.percentile(plane, _STRETCH_PERCENT)
    if high <= low:
        low, high = float(plane.min()), float(plane.max())
    return np.clip((plane - low) / max(high - low, 1e-12), 0, 1).astype(np.float32)


def _resize_image(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if plane.shape == shape:
        return plane
    method = Image.Resampling.BICUBIC if shape[0] > plane.shape[0] else Image.Resampling.BOX
    resized = Image.fromarray(plane, mode="F").resize(shape[::-1], method)
    return np.clip(np.asarray(resized), 0, 1)
