"""Says how much two image planes look like the same field, whatever was done to one of them.

Enters: planes (Y, X). Leaves: `Match` objects for pairs that show the same field re-encoded, with
other brightness or contrast, shifted by up to about half, flipped or turned by 90 degrees.

Planes are reduced to thumbnails of about 64 px, band-passed (structures of 1-3 thumbnail px),
scaled by their median absolute deviation and clipped, so that one bright object cannot carry a
match. A pair matches if two numbers reach `MATCH_CORRELATION`: the peak of the normalised
cross-correlation over shifts and 8 orientations, and the median correlation of a 4 x 4 grid of
blocks of the overlap at that peak. The second number is what tells near-empty tiles apart: one blob
fits any other blob, but fills only one block. Planes that are constant or smaller than 40 thumbnail
px are not compared.

How 0.65 was chosen (the lower of the two numbers, measured): different images reached at most .33
(29 real cFOS images, 406 pairs), .52 (15 real images of nuclei, 105 pairs) and .53 (14 simulated
near-empty tiles, 91 pairs). Two versions of one of these 44 real images (JPEG quality 50, gamma 0.6
or 1.5, noise, crops that share half of their area, or crop + gamma + noise + JPEG + turn together)
reached at least .75. On thumbnails of 24 px different images reached .77, hence the 40 px.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

MATCH_CORRELATION = 0.65
"""Both correlations of a pair must reach this; see the module's docstring for its choice."""
# Crops that share half of their area are to be found; a little less leaves room for rounding.
_MIN_OVERLAP_FRACTION = 0.4
_THUMBNAIL_SIDE_PX = 64
# Fields of nuclei of 7-8 px radius still differ at this reduction, and 1040 x 1388 px stay fast.
_MAX_REDUCTION = 16
# A few large tiles among small ones must not make the thumbnails, and the audit, huge.
_MAX_THUMBNAIL_SIDE_PX = 256
_MIN_THUMBNAIL_SIDE_PX = 40
_BAND_PX = (1.0, 3.0)
_CLIP = 3.0
_N_BLOCKS = 4
_N_ORIENTATIONS = 8


@dataclass(frozen=True)
class Match:
    """Two planes that show the same field."""

    first: int
    """Index of the plane that stays as it is."""
    second: int
    """Index of the plane that was flipped, turned and shifted onto the first."""
    correlation: float
    """The lower of the two correlations, 0.65-1."""
    shift_px: tuple[int, int]
    """Where the second plane's corner lies on the first (y, x), in px of the tiles."""
    turned_degrees: int
    """Counter-clockwise turn of the second plane: 0, 90, 180 or 270."""
    flipped: bool
    """Whether the second plane is mirrored left to right after the turn."""


def choose_reduction(shapes: Sequence[tuple[int, int]]) -> int:
    """How many px become one thumbnail px, the same for all tiles so that crops fit each other."""
    smallest = min(min(shape) for shape in shapes)
    largest = max(max(shape) for shape in shapes)
    wanted = np.clip(smallest // _THUMBNAIL_SIDE_PX, 1, _MAX_REDUCTION)
    return int(max(wanted, -(-largest // _MAX_THUMBNAIL_SIDE_PX)))


def make_thumbnail(plane: np.ndarray, reduction: int) -> np.ndarray | None:
    """A band-passed thumbnail of a plane, or None if it is too small or constant to compare.

    Args:
        plane: (Y, X) numbers.
        reduction: px per thumbnail px.

    Returns:
        (Y // reduction, X // reduction) float32 of zero mean, clipped to about -3..3.
    """
    height, width = (side // reduction for side in plane.shape)
    if min(height, width) < _MIN_THUMBNAIL_SIDE_PX:
        return None
    cut = np.nan_to_num(plane[: height * reduction, : width * reduction].astype(np.float32))
    reduced = cut.reshape(height, reduction, width, reduction).mean(axis=(1, 3))  # (h, w)
    # The root evens out gamma and contrast, and the noise of a photon count.
    rooted = np.sqrt(reduced - reduced.min())
    low, high = (ndimage.gaussian_filter(rooted, sigma) for sigma in _BAND_PX)
    band = low - high
    spread = 1.4826 * float(np.median(np.abs(band - np.median(band))))
    if spread < 0.02 * band.std():
        spread = float(band.std())  # a noise-free background: its median deviation says nothing
    if spread <= 1e-6 * max(float(rooted.max()), 1e-12):
        return None
    clipped = np.clip(band / spread, -_CLIP, _CLIP)
    return (clipped - clipped.mean()).astype(np.float32)


def find_matches(
    thumbnails: Sequence[np.ndarray], groups: Sequence[int], reduction: int
) -> list[Match]:
    """All pairs of planes from different groups that show the same field.

    Args:
        thumbnails: N of (h, w) float32, as `make_thumbnail` gives; their sizes may differ.
        groups: N integers; pairs within a group are not compared.
        reduction: px per thumbnail px, to give shifts in px.
    """
    if len(thumbnails) < 2:
        return []
    order = np.argsort(groups, kind="stable")
    sorted_groups = np.asarray(groups)[order]
    planes = _Planes([thumbnails[index] for index in order])
    matches = []
    for second in range(len(order)):
        # In the order of groups, all planes of other groups to compare with come before.
        n_before = int(np.searchsorted(sorted_groups, sorted_groups[second]))
        for first, orientation, shift in planes.candidates(n_before, second):
            turned = _orient(planes.thumbnails[second], orientation)
            correlation = _correlate_overlap(planes.thumbnails[first], turned, shift)
            if correlation >= MATCH_CORRELATION:
                matches.append(
                    Match(
                        first=int(order[first]),
                        second=int(order[second]),
                        correlation=correlation,
                        shift_px=(shift[0] * reduction, shift[1] * reduction),
                        turned_degrees=90 * (orientation % 4),
                        flipped=orientation >= 4,
                    )
                )
    return matches


class _Planes:
    """The transforms of all planes; letters: N planes, K of them compared, P canvas side."""

    def __init__(self, thumbnails: Sequence[np.ndarray]) -> None:
        self.thumbnails = thumbnails
        # Wide enough that no shift with the wanted overlap wraps around.
        side = max(max(thumbnail.shape) for thumbnail in thumbnails)
        side = fft.next_fast_len(int(np.ceil((2 - _MIN_OVERLAP_FRACTION) * side)), real=True)
        self.canvas = (side, side)
        self.spectra = np.stack([self._transform(plane) for plane in thumbnails])
        self.scales: dict[tuple[int, int], np.ndarray] = {}

    def candidates(self, n_before: int, second: int) -> Iterator[tuple[int, int, tuple[int, int]]]:
        """Those of the first K planes whose correlation peak is high: index, orientation, shift.

        Only the best orientation of a pair is given.
        """
        if not n_before:
            return
        peaks = np.zeros((_N_ORIENTATIONS, n_before), np.float32)
        places = np.zeros((_N_ORIENTATIONS, n_before), int)
        for orientation in range(_N_ORIENTATIONS):
            turned = _orient(self.thumbnails[second], orientation)
            maps = self._correlate(n_before, turned).reshape(n_before, -1)  # (K, P * P)
            places[orientation] = maps.argmax(axis=1)
            peaks[orientation] = np.take_along_axis(maps, places[orientation][:, None], 1)[:, 0]
        best = peaks.argmax(axis=0)
        for first in np.flatnonzero(peaks.max(axis=0) >= MATCH_CORRELATION).tolist():
            place = np.unravel_index(places[best[first], first], self.canvas)
            y, x = (
                int(at) if at < length else int(at) - side
                for at, length, side in zip(
                    place, self.thumbnails[first].shape, self.canvas, strict=True
                )
            )
            yield first, int(best[first]), (y, x)

    def _transform(self, plane: np.ndarray) -> np.ndarray:
        return fft.rfft2(plane, self.canvas)

    def _correlate(self, n_before: int, turned: np.ndarray) -> np.ndarray:
        """(K, P, P) normalised cross-correlation; 0 where the overlap is too small."""
        spectrum = np.conj(self._transform(turned))
        maps = fft.irfft2(self.spectra[:n_before] * spectrum, self.canvas, overwrite_x=True)
        maps *= self._scales_under(turned.shape)[:n_before]
        square = np.conj(self._transform(turned**2))
        own_scales: dict[tuple[int, ...], np.ndarray] = {}
        for first in range(n_before):
            shape = self.thumbnails[first].shape
            if shape not in own_scales:
                box = self._transform(np.ones(shape, np.float32))
                own_scales[shape] = _invert_root(fft.irfft2(box * square, self.canvas))
            maps[first] *= own_scales[shape]
        return maps

    def _scales_under(self, shape: tuple[int, ...]) -> np.ndarray:
        """(N, P, P) one over the root of each plane's energy under a box of `shape`, per shift."""
        key = (shape[0], shape[1])
        if key not in self.scales:
            box = np.conj(self._transform(np.ones(shape, np.float32)))
            scales = []
            for plane in self.thumbnails:
                energy = fft.irfft2(self._transform(plane**2) * box, self.canvas)
                scales.append(_invert_root(energy) * _wide_enough(plane.shape, key, self.canvas[0]))
            self.scales[key] = np.stack(scales)
        return self.scales[key]


def _invert_root(energy: np.ndarray) -> np.ndarray:
    """1 / sqrt(energy), 0 where there is next to no structure."""
    floor = 1e-2 * float(energy.max())
    return np.where(energy > floor, 1 / np.sqrt(np.maximum(energy, max(floor, 1e-9))), 0)


def _wide_enough(first: Sequence[int], second: Sequence[int], side: int) -> np.ndarray:
    """(P, P) bool: whether planes overlap enough at this shift, measured on the smaller one."""
    lengths = []
    for own, other in zip(first, second, strict=True):
        shift = np.arange(side)
        shift = np.where(shift < own, shift, shift - side)
        overlap = np.minimum(own, other + shift) - np.maximum(0, shift)
        lengths.append(np.maximum(overlap, 0))
    smaller = min(first[0] * first[1], second[0] * second[1])
    return lengths[0][:, None] * lengths[1] >= _MIN_OVERLAP_FRACTION * smaller


def _orient(thumbnail: np.ndarray, orientation: int) -> np.ndarray:
    turned = np.rot90(thumbnail, orientation % 4)
    return np.ascontiguousarray(turned[:, ::-1] if orientation >= 4 else turned)


def _correlate_overlap(first: np.ndarray, second: np.ndarray, shift: tuple[int, int]) -> float:
    """The lower of the correlation of the whole overlap and the median over its blocks."""
    y, x = shift
    rows = slice(max(0, y), min(first.shape[0], y + second.shape[0]))
    columns = slice(max(0, x), min(first.shape[1], x + second.shape[1]))
    a = first[rows, columns]
    b = second[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    blocks = [
        _correlation(block_a, block_b)
        for rows_a, rows_b in zip(_cut(a, 0), _cut(b, 0), strict=True)
        for block_a, block_b in zip(_cut(rows_a, 1), _cut(rows_b, 1), strict=True)
    ]
    return min(_correlation(a, b), float(np.median(blocks)))


def _cut(plane: np.ndarray, axis: int) -> list[np.ndarray]:
    return np.array_split(plane, _N_BLOCKS, axis=axis)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))
