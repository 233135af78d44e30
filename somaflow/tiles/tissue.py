"""How much of a tile is tissue and not empty glass.

Enters: a (2, Y, X) tile of whole numbers. Leaves: pixels of tissue, counted in blocks of 32 px.

How bright empty glass is, nobody knows beforehand: it depends on the camera's offset and the
exposure. But glass shows noise only, and tissue shows structure. So a block has structure where the
variance of its 4 x 4 px means exceeds what its noise explains (noise after Immerkaer 1996,
doi:10.1006/cviu.1996.0060). Between sparse cells tissue may be as smooth as glass; it would be
wrong to leave it out, for density would then rise where cells are few. A smooth block therefore
counts as tissue unless it is darker than the blocks with structure are, by three of their robust
standard deviations.
"""

import numba
import numpy as np

BLOCK_PX = 32
_BIN_PX = 4
# The variance of 64 bins that hold noise alone scatters by 18 %; three times is out of reach.
_MIN_EXCESS = 3.0
# Half a grey level: rounding to whole numbers alone may make steps of that height.
_MIN_VARIANCE = 0.25
# Fewer blocks with structure than this are dust on glass.
_MIN_STRUCTURED = 0.05
_OUTLYING_SDS = 3.0
_SDS_PER_MAD = 1.4826


def count_tissue(image: np.ndarray) -> int:
    """Returns the number of pixels of tissue.

    Args:
        image: (C, Y, X) uint8 or uint16, contiguous; a block with structure in any channel has
            structure, and its brightness is the channels' sum.
    """
    shape = image.shape[1:]
    edges = [_split(size) for size in shape]
    n_blocks = (len(edges[0]) - 1, len(edges[1]) - 1)
    is_structured, level = np.zeros(n_blocks, dtype=bool), np.zeros(n_blocks)
    for plane in image:
        noise, variance, dim = np.zeros((3, *n_blocks))
        _describe_blocks(plane, edges[0], edges[1], noise, variance, dim)
        explained = noise / _BIN_PX**2
        is_structured |= variance > np.maximum(_MIN_EXCESS * explained, _MIN_VARIANCE)
        level += dim
    is_tissue = is_structured | _is_as_bright(level, is_structured)
    areas = np.outer(np.diff(edges[0]), np.diff(edges[1]))
    return int(areas[is_tissue].sum())


def _split(size: int) -> np.ndarray:
    """Edges of blocks along an axis; what is left over belongs to the last one."""
    n_blocks = max(1, size // BLOCK_PX)
    return np.append(np.arange(n_blocks) * BLOCK_PX, size)


def _is_as_bright(level: np.ndarray, is_structured: np.ndarray) -> np.ndarray:
    if is_structured.mean() < _MIN_STRUCTURED:
        return np.zeros_like(is_structured)
    tissue = level[is_structured]
    middle = np.median(tissue)
    spread = _SDS_PER_MAD * np.median(np.abs(tissue - middle))
    return level >= middle - _OUTLYING_SDS * spread


@numba.njit(cache=True, nogil=True)
def _describe_blocks(
    plane: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    noise: np.ndarray,
    variance: np.ndarray,
    dim: np.ndarray,
) -> None:
    """Fills noise variance of a pixel, variance of bins, and the bins' lower quartile."""
    bins = np.empty((2 * BLOCK_PX // _BIN_PX) ** 2)
    for row in range(rows.size - 1):
        for column in range(columns.size - 1):
            top, bottom = rows[row], rows[row + 1]
            left, right = columns[column], columns[column + 1]
            noise[row, column] = _measure_noise(plane, top, bottom, left, right)
            n_bins = _fill_bins(plane, top, bottom, left, right, bins)
            variance[row, column] = bins[:n_bins].var()
            dim[row, column] = np.sort(bins[:n_bins])[n_bins // 4]


@numba.njit(cache=True, nogil=True)
def _measure_noise(plane: np.ndarray, top: int, bottom: int, left: int, right: int) -> float:
    total, n_pixels = np.int64(0), 0
    # Every second row is sample enough.
    for y in range(max(top, 1), min(bottom, plane.shape[0] - 1), 2):
        for x in range(max(left, 1), min(right, plane.shape[1] - 1)):
            middle = np.int64(plane[y, x])
            edges = np.int64(plane[y - 1, x]) + plane[y + 1, x] + plane[y, x - 1] + plane[y, x + 1]
            corners = (
                np.int64(plane[y - 1, x - 1])
                + plane[y - 1, x + 1]
                + plane[y + 1, x - 1]
                + plane[y + 1, x + 1]
            )
            response = 4 * middle - 2 * edges + corners
            total += response * response
            n_pixels += 1
    # The squares of the mask's nine weights add up to 36.
    return total / (36 * n_pixels)


@numba.njit(cache=True, nogil=True)
def _fill_bins(
    plane: np.ndarray, top: int, bottom: int, left: int, right: int, bins: np.ndarray
) -> int:
    n_bins = 0
    for y in range(top, bottom - _BIN_PX + 1, _BIN_PX):
        for x in range(left, right - _BIN_PX + 1, _BIN_PX):
            total = np.int64(0)
            for dy in range(_BIN_PX):
                for dx in range(_BIN_PX):
                    total += plane[y + dy, x + dx]
            bins[n_bins] = total / _BIN_PX**2
            n_bins += 1
    return n_bins
