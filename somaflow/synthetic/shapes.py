"""Outlines of nuclei and cell bodies, and how they are laid on an image without overlap.

An outline is an ellipse with a wavy edge. Its *depth* at a pixel is 0 in the centre, 1 on the edge
and more outside, so that one number decides brightness, edge and to whom a shared pixel belongs.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Outline:
    """An ellipse with a wavy edge; its area is about that of a disc of `radius_px`."""

    y: float
    x: float
    radius_px: float
    elongation: float = 1.0
    """Long axis over short axis."""
    angle: float = 0.0
    """Direction of the long axis, radians."""
    waves: tuple[tuple[int, float, float], ...] = ()
    """The edge's waves: lobes around the outline, amplitude as a fraction of the radius, phase."""

    def scaled(self, factor: float) -> "Outline":
        """The same shape, `factor` times as wide."""
        return replace(self, radius_px=self.radius_px * factor)

    def moved(self, dy: float, dx: float) -> "Outline":
        """The same shape elsewhere; `dy` and `dx` in pixels."""
        return replace(self, y=self.y + dy, x=self.x + dx)


def draw_outline(
    rng: np.random.Generator,
    centre: tuple[float, float],
    radius_px: float,
    max_elongation: float,
    waviness: float,
    lobes: tuple[int, ...] = (2, 3, 4),
) -> Outline:
    """An outline of random direction; each wave's amplitude is about half of `waviness`."""
    amplitudes = waviness / 2 * rng.standard_normal(len(lobes))
    phases = rng.uniform(0, 2 * np.pi, len(lobes))
    waves = tuple(
        (count, float(amplitude), float(phase))
        for count, amplitude, phase in zip(lobes, amplitudes, phases, strict=True)
    )
    elongation = float(rng.uniform(1.0, max_elongation))
    return Outline(*centre, radius_px, elongation, float(rng.uniform(0, np.pi)), waves)


def measure_depth(
    outline: Outline, shape: tuple[int, int], margin_px: float = 2.0
) -> tuple[Window, NDArray[np.float32]] | None:
    """The window that holds the outline, and the depth of each of its pixels.

    Args:
        outline: what to lay on the image.
        shape: (Y, X) of the image.
        margin_px: how far beyond the edge the window reaches.

    Returns:
        The window and its (y, x) float32 depths; None if all of it lies outside the image.
    """
    swell = 1 + sum(abs(amplitude) for _, amplitude, _ in outline.waves)
    reach = outline.radius_px * np.sqrt(outline.elongation) * swell + margin_px
    top, bottom = max(0, int(outline.y - reach)), min(shape[0], int(outline.y + reach) + 2)
    left, right = max(0, int(outline.x - reach)), min(shape[1], int(outline.x + reach) + 2)
    if top >= bottom or left >= right:
        return None
    window = slice(top, bottom), slice(left, right)
    return window, measure_depth_in(window, outline)


def measure_depth_in(window: Window, outline: Outline) -> NDArray[np.float32]:
    """The outline's depth at each pixel of `window`, wherever the outline lies."""
    rows, columns = window
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(outline.y)
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(outline.x)
    cosine, sine = np.float32(np.cos(outline.angle)), np.float32(np.sin(outline.angle))
    stretch = np.float32(np.sqrt(outline.elongation))
    along = (x * cosine + y * sine) / stretch
    across = (y * cosine - x * sine) * stretch
    depth = np.sqrt(along * along + across * across) / _edge_radius(along, across, outline)
    return depth.astype(np.float32, copy=False)


def _edge_radius(
    along: NDArray[np.floating], across: NDArray[np.floating], outline: Outline
) -> NDArray[np.floating]:
    """Where the edge lies in each pixel's direction, in px."""
    theta = np.arctan2(across, along)
    radius = np.ones_like(theta)
    for lobes, amplitude, phase in outline.waves:
        radius += np.float32(amplitude) * np.cos(lobes * theta + np.float32(phase))
    return np.float32(outline.radius_px) * np.maximum(radius, np.float32(0.3))


def soften_edge(
    depth: NDArray[np.float32], radius_px: float, edge_px: float
) -> NDArray[np.float32]:
    """Brightness 1 inside to 0 outside, with a ramp `edge_px` wide across the edge."""
    return np.clip((1 - depth) * np.float32(radius_px / edge_px) + np.float32(0.5), 0, 1)


def choose_apart(
    points: NDArray[np.float64],
    radii: NDArray[np.float64],
    spacing: float,
    n_wanted: int,
    n_fixed: int = 0,
) -> list[int]:
    """Indices of the first points that keep their distance from all chosen before.

    Args:
        points: (N, 2) y and x in px.
        radii: (N,) in px.
        spacing: least distance of two points over the sum of their radii.
        n_wanted: stop after so many.
        n_fixed: so many points at the start are chosen whatever their distance.
    """
    chosen = list(range(n_fixed))
    for index in range(n_fixed, len(points)):
        if len(chosen) >= n_wanted:
            break
        offsets = points[chosen] - points[index]
        reach = spacing * (radii[chosen] + radii[index])
        if not ((offsets * offsets).sum(axis=1) < reach * reach).any():
            chosen.append(index)
    return chosen


class LabelCanvas:
    """A (Y, X) label image under construction; a pixel claimed twice goes to the deeper."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """An empty canvas of `shape` (Y, X)."""
        self.labels = np.zeros(shape, dtype=np.uint32)
        self._depth = np.ones(shape, dtype=np.float32)

    def add(self, label: int, window: Window, depth: NDArray[np.float32]) -> None:
        """Claims the pixels whose depth is below 1 and below every earlier claim."""
        claimed = depth < self._depth[window]
        self.labels[window][claimed] = label
        self._depth[window][claimed] = depth[claimed]


def keep_connected(labels: NDArray[np.uint32], min_area_px: int) -> NDArray[np.int64]:
    """Cuts each label to its largest connected part, in place, and returns the labels' areas.

    Args:
        labels: (Y, X) uint32, 0 = background; changed in place.
        min_area_px: labels smaller than this are erased.

    Returns:
        Areas in px, index = label (index 0 is meaningless); 0 = erased or never there.
    """
    boxes = ndimage.find_objects(labels.astype(np.int32))
    areas = np.zeros(len(boxes) + 1, dtype=np.int64)
    for label, box in enumerate(boxes, start=1):
        if box is None:
            continue
        inside = labels[box] == label
        parts, n_parts = ndimage.label(inside)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        largest = int(sizes.argmax())
        if sizes[largest] < min_area_px:
            labels[box][inside] = 0
            continue
        if n_parts > 1:
            labels[box][inside & (parts != largest)] = 0
        areas[label] = sizes[largest]
    return areas


def renumber(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The same cells numbered 1..N in the order of their old numbers."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    numbers = np.where(present, np.cumsum(present), 0).astype(np.uint32)
    return numbers[labels]
