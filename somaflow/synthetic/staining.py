"""The clean light of a tile, before the microscope: nuclei, cell bodies, processes, tissue.

Works on float32 images (Y, X) in units of full scale.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somaflow.synthetic.markers import FULL_TILE_PX, MarkerStyle, Processes
from somaflow.synthetic.optics import Image, add_light, draw_fibres, draw_field, draw_glow
from somaflow.synthetic.shapes import Outline, measure_depth, measure_depth_in, soften_edge

_STEP_PX = 0.7
# A line one or two pixels wide loses this much of its height to the microscope's blur.
_LINE_GAIN = 1.7


@dataclass(frozen=True)
class Cell:
    """A cell body (None for a cell without the marker) and its nucleus."""

    body: Outline | None
    nucleus: Outline


def paint_dapi(rng: np.random.Generator, cells: list[Cell], shape: tuple[int, int]) -> Image:
    """All nuclei, peak about 0.3 to 1.2, with chromatin texture and out-of-focus nuclei."""
    share = shape[0] * shape[1] / FULL_TILE_PX
    light = np.float32(0.25) * draw_glow(rng, shape, int(rng.poisson(40 * share)), 9.0)
    chromatin = np.maximum(1 + np.float32(0.22) * draw_field(rng, shape, 2.5), np.float32(0.3))
    for cell in cells:
        laid = measure_depth(cell.nucleus, shape)
        if laid is None:
            continue
        window, depth = laid
        brightness = np.float32(0.65 * np.exp(0.3 * rng.standard_normal()))
        profile = soften_edge(depth, cell.nucleus.radius_px, 2.0) * (1 - 0.25 * depth * depth)
        light[window] += brightness * profile * chromatin[window]
    return light


def paint_marker(
    rng: np.random.Generator, style: MarkerStyle, cells: list[Cell], shape: tuple[int, int]
) -> Image:
    """Bodies and processes of the positive cells, and fibres and blurred cells of other planes."""
    share = shape[0] * shape[1] / FULL_TILE_PX
    n_blurred = int(rng.poisson(0.6 * style.cells_per_tile * share))
    glow = draw_glow(rng, shape, n_blurred, 1.1 * style.radius_px)
    light = np.float32(0.3 * style.brightness) * glow
    n_fibres = int(rng.poisson(style.n_fibres_per_tile * share))
    if n_fibres:
        fibres = draw_fibres(rng, shape, n_fibres, 1.2)
        light += np.float32(0.3 * style.brightness) * fibres
    bodies = [cell.body for cell in cells if cell.body is not None]
    brightness = style.brightness * np.exp(
        style.brightness_spread * rng.standard_normal(len(bodies))
    )
    if style.processes is not None and bodies:
        _paint_processes(rng, light, style.processes, bodies, brightness)
    _paint_bodies(rng, light, style, cells, brightness)
    return light


def _paint_bodies(
    rng: np.random.Generator,
    light: Image,
    style: MarkerStyle,
    cells: list[Cell],
    brightness: NDArray[np.float64],
) -> None:
    shape = (light.shape[0], light.shape[1])
    granules = np.maximum(1 + np.float32(0.18) * draw_field(rng, shape, 3.0), np.float32(0.3))
    positive = [(cell.body, cell.nucleus) for cell in cells if cell.body is not None]
    for (body, nucleus), height in zip(positive, brightness, strict=True):
        laid = measure_depth(body, shape)
        if laid is None:
            continue
        window, depth = laid
        profile = soften_edge(depth, body.radius_px, style.edge_px) * (1 - 0.2 * depth * depth)
        profile = np.float32(height) * profile * granules[window]
        profile *= 1 + (style.nucleus_shade - 1) * soften_edge(
            measure_depth_in(window, nucleus), nucleus.radius_px, 2.0
        )
        light[window] = np.maximum(light[window], profile)


def _paint_processes(
    rng: np.random.Generator,
    light: Image,
    processes: Processes,
    bodies: list[Outline],
    brightness: NDArray[np.float64],
) -> None:
    """Draws tapering branches from each body's edge, and side branches from those, in place."""
    low, high = processes.count
    owners = np.repeat(np.arange(len(bodies)), rng.integers(low, high + 1, len(bodies)))
    if not len(owners):
        return
    centres = np.array([(body.y, body.x) for body in bodies])[owners]
    radii = np.array([body.radius_px for body in bodies])[owners]
    headings = rng.uniform(0, 2 * np.pi, len(owners))
    starts = centres + 0.75 * radii[:, None] * np.stack([np.sin(headings), np.cos(headings)], 1)
    lengths = rng.uniform(*processes.length_px, len(owners))
    heights = processes.brightness * brightness[owners] * rng.uniform(0.5, 1.0, len(owners))
    paths, turned = _walk(rng, starts, headings, lengths, processes.wander)
    _paint_paths(light, paths, lengths, heights)
    for _ in range(processes.n_branches):
        fork = (rng.uniform(0.25, 0.8, len(owners)) * lengths / _STEP_PX).astype(np.intp)
        picked = np.arange(len(owners))
        side = rng.choice([-1.0, 1.0], len(owners)) * rng.uniform(0.4, 1.1, len(owners))
        shorter = lengths * rng.uniform(0.2, 0.6, len(owners))
        branches, _ = _walk(
            rng, paths[picked, fork], turned[picked, fork] + side, shorter, processes.wander
        )
        _paint_paths(light, branches, shorter, 0.6 * heights)


def _walk(
    rng: np.random.Generator,
    starts: NDArray[np.float64],
    headings: NDArray[np.float64],
    lengths: NDArray[np.float64],
    wander: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Winding paths: (N, steps, 2) y and x, and (N, steps) headings; all as long as the longest."""
    n_steps = int(np.ceil(lengths.max() / _STEP_PX)) + 1
    turns = rng.normal(0, wander, (len(starts), n_steps)).cumsum(axis=1)
    turned = headings[:, None] + turns
    steps = _STEP_PX * np.stack([np.sin(turned), np.cos(turned)], axis=2)
    return starts[:, None, :] + steps.cumsum(axis=1), turned


def _paint_paths(
    light: Image,
    paths: NDArray[np.float64],
    lengths: NDArray[np.float64],
    heights: NDArray[np.float64],
) -> None:
    """Lays tapering lines on the image, two pixels wide in the first half, in place."""
    travelled = _STEP_PX * np.arange(paths.shape[1]) / lengths[:, None]
    taper = np.where(travelled < 1, 1 - 0.75 * travelled, 0.0)
    glow = (_LINE_GAIN * heights[:, None] * taper).astype(np.float32)
    rows, columns = paths[..., 0].astype(np.intp), paths[..., 1].astype(np.intp)
    add_light(light, rows, columns, glow)
    add_light(light, rows + 1, columns, np.where(travelled < 0.5, 0.7 * glow, 0))


def paint_autofluorescence(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """Light of the tissue itself: a faint weave, and clumps of lipofuscin granules."""
    share = shape[0] * shape[1] / FULL_TILE_PX
    light = np.float32(0.025) * (draw_field(rng, shape, 4.0) + draw_field(rng, shape, 13.0))
    n_clumps = int(rng.poisson(14 * share))
    centres = rng.uniform(0, np.array(shape), (n_clumps, 1, 2))
    granules = (centres + rng.normal(0, 3.0, (n_clumps, 12, 2))).astype(np.intp)
    heights = rng.uniform(0.5, 3.0, (n_clumps, 1)) * rng.uniform(0.3, 1.0, (n_clumps, 12))
    add_light(light, granules[..., 0], granules[..., 1], heights.astype(np.float32))
    return light
