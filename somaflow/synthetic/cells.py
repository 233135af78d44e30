"""Two-channel tiles of one marker: DAPI shows every nucleus, the marker its cells' bodies.

Labels are the bodies of marker-positive cells, as the study's annotators drew them: processes,
debris, autofluorescence and the nuclei of other cells belong to no label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somaflow.synthetic.donors import ChannelOptics, Donor
from somaflow.synthetic.markers import (
    FULL_TILE_PX,
    NEGATIVE_NUCLEI_PER_TILE,
    NUCLEUS_RADIUS_PX,
    MarkerStyle,
    find_style,
)
from somaflow.synthetic.optics import Image, blur, draw_debris, draw_field, draw_vignette, expose
from somaflow.synthetic.shapes import (
    LabelCanvas,
    Outline,
    choose_apart,
    draw_outline,
    keep_connected,
    measure_depth,
)
from somaflow.synthetic.staining import Cell, paint_autofluorescence, paint_dapi, paint_marker

_MIN_BODY_PX = 12


@dataclass(frozen=True)
class DrawnTile:
    """A tile with everything that is known about it."""

    image: NDArray[np.uint8]
    """(2, Y, X), DAPI first."""
    labels: NDArray[np.uint32]
    """(Y, X), 0 = background: bodies of positive cells, 1..N."""
    nuclei: NDArray[np.uint32]
    """(Y, X): nuclei; a positive cell's nucleus has its body's number, others come after."""


def draw_tile(
    rng: np.random.Generator, marker: str, donor: Donor, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """A tile and its labels.

    Args:
        rng: source of randomness; the same state gives the same tile.
        marker: GFAP, NeuN, IBA1 or OLIG2.
        donor: whose density and optics to use.
        shape: (Y, X) in px; counts scale with its area.

    Returns:
        The image, (2, Y, X) uint8, DAPI first, and the labels, (Y, X) uint32, 0 = background:
        bodies of positive cells 1..N, each connected, with its nucleus inside.

    Raises:
        StudyError: if the marker is not one of the four.
    """
    tile = draw_full_tile(rng, marker, donor, shape)
    return tile.image, tile.labels


def draw_full_tile(
    rng: np.random.Generator, marker: str, donor: Donor, shape: tuple[int, int]
) -> DrawnTile:
    """As `draw_tile`, with the nuclei's labels too."""
    style = find_style(marker)
    cells = _place_cells(rng, style, donor, shape)
    labels, nuclei = _paint_labels(cells, shape)
    dapi = paint_dapi(rng, cells, shape)
    stain = paint_marker(rng, style, cells, shape)
    # Unspecific staining: the marker's antibody sticks to nuclei a little.
    stain += np.float32(0.16 * style.brightness * rng.uniform(0.2, 1.0)) * dapi
    autofluorescence = paint_autofluorescence(rng, shape)
    dapi_light = dapi + np.float32(donor.marker.bleed) * stain + 0.5 * autofluorescence
    stain_light = stain + np.float32(donor.dapi.bleed) * dapi + autofluorescence
    image = np.stack(
        [
            _record(rng, dapi_light, donor.dapi, shape),
            _record(rng, stain_light, donor.marker, shape),
        ]
    )
    return DrawnTile(image, labels, nuclei)


def _place_cells(
    rng: np.random.Generator, style: MarkerStyle, donor: Donor, shape: tuple[int, int]
) -> list[Cell]:
    """Positive cells first; nuclei of the others keep clear of them and of each other."""
    share = shape[0] * shape[1] / FULL_TILE_PX
    n_positive = int(
        rng.poisson(style.cells_per_tile * share * donor.density_multipliers[style.name])
    )
    n_negative = int(rng.poisson(NEGATIVE_NUCLEI_PER_TILE * share * donor.cellularity))
    body_radii = _draw_radii(rng, 3 * n_positive, style)
    points = _draw_points(rng, style, 3 * n_positive, shape)
    chosen = choose_apart(points, body_radii, style.spacing, n_positive)
    positive = [_draw_cell(rng, style, points[i], float(body_radii[i])) for i in chosen]
    negative = _place_negative(rng, n_negative, points[chosen], body_radii[chosen], shape)
    return positive + negative


def _draw_radii(rng: np.random.Generator, n: int, style: MarkerStyle) -> NDArray[np.float64]:
    radii = rng.normal(style.radius_px, style.radius_sd_px, n)
    return np.clip(radii, *style.radius_range_px)


def _draw_points(
    rng: np.random.Generator, style: MarkerStyle, n: int, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """(n, 2) y and x inside the tile; clustered ones lie in short rows of a few cells."""
    extent = np.array(shape, dtype=np.float64)
    points = rng.uniform(0, extent, (n, 2))
    if style.is_clustered and n > 1:
        followers = np.flatnonzero(rng.random(n) < 0.45)
        leaders = rng.integers(0, n, len(followers))
        angle = rng.uniform(0, 2 * np.pi, len(followers))
        distance = rng.uniform(1.9, 2.8, len(followers)) * style.radius_px
        offset = distance[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        points[followers] = np.clip(points[leaders] + offset, 0, extent - 1)
    return points


def _draw_cell(
    rng: np.random.Generator, style: MarkerStyle, point: NDArray[np.float64], radius_px: float
) -> Cell:
    centre = (float(point[0]), float(point[1]))
    body = draw_outline(rng, centre, radius_px, style.max_elongation, style.waviness, style.lobes)
    nucleus_radius = min(float(rng.normal(*NUCLEUS_RADIUS_PX)), style.nucleus_share * radius_px)
    # Half of the body's elongation and none of its lobes: round, and yet inside a slender body.
    nucleus = Outline(
        body.y, body.x, nucleus_radius, elongation=float(np.sqrt(body.elongation)), angle=body.angle
    )
    return Cell(body, nucleus)


def _place_negative(
    rng: np.random.Generator,
    n_negative: int,
    positive_points: NDArray[np.float64],
    positive_radii: NDArray[np.float64],
    shape: tuple[int, int],
) -> list[Cell]:
    points = np.concatenate([positive_points, rng.uniform(0, np.array(shape), (2 * n_negative, 2))])
    radii = np.concatenate([positive_radii, rng.normal(*NUCLEUS_RADIUS_PX, 2 * n_negative)])
    n_positive = len(positive_points)
    chosen = choose_apart(points, radii, 0.95, n_positive + n_negative, n_fixed=n_positive)
    return [
        Cell(
            None,
            draw_outline(
                rng, (float(points[i, 0]), float(points[i, 1])), float(radii[i]), 1.5, 0.08
            ),
        )
        for i in chosen[n_positive:]
    ]


def _paint_labels(
    cells: list[Cell], shape: tuple[int, int]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    bodies, nuclei = LabelCanvas(shape), LabelCanvas(shape)
    for number, cell in enumerate(cells, start=1):
        for canvas, outline in ((bodies, cell.body), (nuclei, cell.nucleus)):
            laid = None if outline is None else measure_depth(outline, shape)
            if laid is not None:
                canvas.add(number, *laid)
    keep_connected(bodies.labels, _MIN_BODY_PX)
    numbers = _number_in_order(bodies.labels, len(cells))
    return numbers[bodies.labels], numbers[nuclei.labels]


def _number_in_order(labels: NDArray[np.uint32], n_cells: int) -> NDArray[np.uint32]:
    """New number of each cell: labelled ones 1..N, then the others."""
    is_labelled = np.bincount(labels.ravel(), minlength=n_cells + 1) > 0
    is_labelled[0] = False
    n_labelled = int(is_labelled.sum())
    others = ~is_labelled
    others[0] = False
    numbers = np.where(is_labelled, np.cumsum(is_labelled), n_labelled + np.cumsum(others))
    numbers[0] = 0
    return numbers.astype(np.uint32)


def _record(
    rng: np.random.Generator, light: Image, optics: ChannelOptics, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """The channel as the donor's microscope gives it: (Y, X) uint8."""
    n_specks = int(rng.poisson(optics.debris_per_mpx * shape[0] * shape[1] / 1e6))
    light = blur(light + draw_debris(rng, shape, n_specks), optics.blur_px)
    clouds = np.exp(0.35 * draw_field(rng, shape, 140.0) + 0.12 * draw_field(rng, shape, 7.0))
    light += np.float32(optics.background) * clouds
    light *= np.float32(optics.gain) * draw_vignette(shape, optics.vignette)
    exposed = expose(rng, light, optics.full_scale_photons, optics.read_noise)
    return np.rint(255 * exposed).astype(np.uint8)
