"""Area, place, axes and perimeter of each cell.

Enters: runs of cells. Leaves: columns. Moments are sums of integers, so they are exact; perimeters
are counts of border pixels by the shape of their neighbourhood, weighted once at the end.
"""

import numba
import numpy as np

from somaflow.features.runs import CellRuns


def measure_shapes(runs: CellRuns, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Returns area_px, centroid, box, axes, eccentricity and perimeter_px, each (N,).

    Args:
        runs: of N cells.
        shape: (Y, X) of the label image, in px.
    """
    n_cells = runs.ids.size
    moments = np.zeros((6, n_cells), dtype=np.int64)
    box = np.empty((4, n_cells), dtype=np.int64)
    box[:2], box[2:] = np.iinfo(np.int64).max, 0
    _add_runs(runs.cell, runs.row, runs.start, runs.stop, moments, box)
    area, sum_y, sum_x = moments[:3]
    major, minor, eccentricity = _axes(moments)
    return {
        "area_px": area,
        "centroid_y_px": sum_y / area,
        "centroid_x_px": sum_x / area,
        "bbox_min_y_px": box[0],
        "bbox_min_x_px": box[1],
        "bbox_max_y_px": box[2],
        "bbox_max_x_px": box[3],
        "axis_major_px": major,
        "axis_minor_px": minor,
        "eccentricity": eccentricity,
        "perimeter_px": _perimeters(runs, shape),
    }


def areas(runs: CellRuns) -> np.ndarray:
    """Returns the pixels of each cell, (N,) int64."""
    lengths = runs.stop - runs.start
    return np.bincount(runs.cell, weights=lengths, minlength=runs.ids.size).astype(np.int64)


def _axes(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns major axis, minor axis and eccentricity of the ellipse with the same moments.

    Args:
        moments: (6, N) int64: area, sums of y, x, y * y, x * x and y * x.
    """
    area, sum_y, sum_x, sum_yy, sum_xx, sum_yx = moments
    # Moments about the pixel nearest to the centroid stay exact integers, and the rest of the way
    # to the centroid is so short that nothing cancels: a line keeps a minor axis of exactly 0.
    y, x = np.rint(sum_y / area).astype(np.int64), np.rint(sum_x / area).astype(np.int64)
    rest_y, rest_x = sum_y - area * y, sum_x - area * x
    near_yy = sum_yy - 2 * y * sum_y + area * y * y
    near_xx = sum_xx - 2 * x * sum_x + area * x * x
    near_yx = sum_yx - y * sum_x - x * sum_y + area * y * x
    variance_y = (near_yy - rest_y * rest_y / area) / area
    variance_x = (near_xx - rest_x * rest_x / area) / area
    covariance = (near_yx - rest_y * rest_x / area) / area
    middle = (variance_y + variance_x) / 2
    spread = np.hypot((variance_y - variance_x) / 2, covariance)
    largest = middle + spread
    # The product of both eigenvalues is the determinant; middle - spread would cancel.
    determinant = np.maximum(variance_y * variance_x - covariance * covariance, 0)
    smallest = np.divide(determinant, largest, out=np.zeros_like(largest), where=largest > 0)
    roundness = np.divide(2 * spread, largest, out=np.zeros_like(largest), where=largest > 0)
    return 4 * np.sqrt(largest), 4 * np.sqrt(smallest), np.sqrt(np.minimum(roundness, 1))


def _perimeters(runs: CellRuns, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the perimeter of each cell in px, (N,) float64.

    A border pixel has one of its four neighbours outside the cell. Its weight depends on how many
    border pixels of the same cell touch it by an edge and by a corner (Benkrid and Crookes, Design
    and FPGA implementation of a perimeter estimator): steps of 1 and sqrt(2), or half of each.
    """
    # A frame of background saves the check at the edges of the image.
    width = shape[1] + 2
    pixels = np.zeros((shape[0] + 2) * width, dtype=np.int32)
    first = (runs.row + 1) * width + runs.start + 1
    length = runs.stop - runs.start
    _paint(runs.cell, first, length, pixels)
    borders = np.empty(length.sum(), dtype=np.int64)
    n_borders = _mark_borders(first, length, width, pixels, borders)
    counts = np.zeros((3, runs.ids.size), dtype=np.int64)
    _count_steps(borders[:n_borders], width, pixels, counts)
    return counts[0] + counts[1] * np.sqrt(2) + counts[2] * (1 + np.sqrt(2)) / 2


@numba.njit(cache=True)
def _add_runs(
    cell: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    moments: np.ndarray,
    box: np.ndarray,
) -> None:
    for run in range(cell.size):
        index, y, x0, x1 = cell[run], row[run], start[run], stop[run]
        length = x1 - x0
        sum_x = length * (x0 + x1 - 1) // 2
        # Sum of squares below n is (n - 1) n (2 n - 1) / 6.
        sum_xx = ((x1 - 1) * x1 * (2 * x1 - 1) - (x0 - 1) * x0 * (2 * x0 - 1)) // 6
        moments[0, index] += length
        moments[1, index] += length * y
        moments[2, index] += sum_x
        moments[3, index] += length * y * y
        moments[4, index] += sum_xx
        moments[5, index] += sum_x * y
        box[0, index] = min(box[0, index], y)
        box[1, index] = min(box[1, index], x0)
        box[2, index] = max(box[2, index], y + 1)
        box[3, index] = max(box[3, index], x1)


@numba.njit(cache=True)
def _paint(cell: np.ndarray, first: np.ndarray, length: np.ndarray, pixels: np.ndarray) -> None:
    """Writes index + 1 of each cell into the framed, flat image `pixels`."""
    for run in range(cell.size):
        pixels[first[run] : first[run] + length[run]] = cell[run] + 1


@numba.njit(cache=True)
def _mark_borders(
    first: np.ndarray, length: np.ndarray, width: int, pixels: np.ndarray, borders: np.ndarray
) -> int:
    """Turns the sign of pixels with a 4-neighbour outside their cell; lists them in `borders`.

    The sign saves a second image: the memory costs more than the arithmetic.
    """
    n_borders = 0
    for run in range(first.size):
        own = pixels[first[run]]
        last = first[run] + length[run] - 1
        for at in range(first[run], last + 1):
            inside = abs(pixels[at - width]) == own and pixels[at + width] == own
            if not inside or at == last or at == first[run]:
                pixels[at] = -own
                borders[n_borders] = at
                n_borders += 1
    return n_borders


@numba.njit(cache=True)
def _count_steps(borders: np.ndarray, width: int, pixels: np.ndarray, counts: np.ndarray) -> None:
    """Counts border pixels of weight 1, sqrt(2) and (1 + sqrt(2)) / 2 into `counts` (3, N)."""
    for at in borders:
        own = pixels[at]
        above, below = at - width, at + width
        by_edge = (
            int(pixels[above] == own)
            + int(pixels[below] == own)
            + int(pixels[at - 1] == own)
            + int(pixels[at + 1] == own)
        )
        by_corner = (
            int(pixels[above - 1] == own)
            + int(pixels[above + 1] == own)
            + int(pixels[below - 1] == own)
            + int(pixels[below + 1] == own)
        )
        if 2 <= by_edge <= 3 and by_corner <= 2:
            counts[0, -own - 1] += 1
        elif (by_edge == 0 and by_corner == 2) or (by_edge == 1 and by_corner == 3):
            counts[1, -own - 1] += 1
        elif by_edge == 1 and 1 <= by_corner <= 2:
            counts[2, -own - 1] += 1
