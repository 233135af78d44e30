"""How the cells of each marker look and how many there are: the numbers the tiles are drawn from.

Sizes and counts are those of the study's human labels (tiles of 1040 x 1388 px); the rest is set so
that tiles look like it and a model that knows only nuclei does badly.
"""

from dataclasses import dataclass
from types import MappingProxyType

from somaflow.errors import StudyError

FULL_TILE_PX = 1040 * 1388
NUCLEUS_RADIUS_PX = (7.7, 0.5)
"""Mean and standard deviation."""
NEGATIVE_NUCLEI_PER_TILE = 85.0
"""Nuclei of cells without the marker, in a full tile."""


@dataclass(frozen=True)
class Processes:
    """Thin branches that leave a cell body; they are drawn and never labelled."""

    count: tuple[int, int]
    length_px: tuple[float, float]
    brightness: float
    wander: float
    """How much the direction turns per pixel, radians."""
    n_branches: int = 0


@dataclass(frozen=True)
class MarkerStyle:
    """One marker's cell bodies."""

    name: str
    radius_px: float
    """Mean equivalent radius of a cell body."""
    radius_sd_px: float
    radius_range_px: tuple[float, float]
    cells_per_tile: float
    """Mean number of positive cells in a full tile."""
    max_elongation: float
    waviness: float
    lobes: tuple[int, ...]
    brightness: float
    brightness_spread: float
    edge_px: float
    nucleus_shade: float
    """Brightness of the marker over the nucleus, relative to the body."""
    nucleus_share: float
    """Greatest radius of the nucleus, as a fraction of the body's."""
    spacing: float
    """Least distance of two cells over the sum of their radii."""
    is_clustered: bool
    processes: Processes | None
    n_fibres_per_tile: float
    """Winding fibres of other cells that cross a full tile."""


STYLES = MappingProxyType(
    {
        "GFAP": MarkerStyle(
            name="GFAP",
            radius_px=12.5,
            radius_sd_px=2.1,
            radius_range_px=(7.5, 19.0),
            cells_per_tile=25,
            max_elongation=1.5,
            waviness=0.24,
            lobes=(3, 4, 5),
            brightness=0.75,
            brightness_spread=0.3,
            edge_px=3.0,
            nucleus_shade=0.55,
            nucleus_share=0.66,
            spacing=1.25,
            is_clustered=False,
            processes=Processes(
                count=(5, 9), length_px=(18, 55), brightness=0.6, wander=0.05, n_branches=2
            ),
            n_fibres_per_tile=50,
        ),
        "NeuN": MarkerStyle(
            name="NeuN",
            radius_px=14.8,
            radius_sd_px=3.3,
            radius_range_px=(8.0, 25.0),
            cells_per_tile=91,
            max_elongation=1.45,
            waviness=0.16,
            lobes=(2, 3),
            brightness=0.85,
            brightness_spread=0.35,
            edge_px=2.5,
            nucleus_shade=1.15,
            nucleus_share=0.68,
            spacing=1.0,
            is_clustered=False,
            processes=Processes(count=(0, 2), length_px=(8, 24), brightness=0.45, wander=0.02),
            n_fibres_per_tile=0,
        ),
        "IBA1": MarkerStyle(
            name="IBA1",
            radius_px=9.7,
            radius_sd_px=1.9,
            radius_range_px=(5.0, 16.0),
            cells_per_tile=28,
            max_elongation=2.2,
            waviness=0.26,
            lobes=(2, 3, 5),
            brightness=0.7,
            brightness_spread=0.3,
            edge_px=2.5,
            nucleus_shade=0.7,
            nucleus_share=0.74,
            spacing=1.25,
            is_clustered=False,
            processes=Processes(
                count=(3, 6), length_px=(14, 38), brightness=0.5, wander=0.13, n_branches=3
            ),
            n_fibres_per_tile=12,
        ),
        "OLIG2": MarkerStyle(
            name="OLIG2",
            radius_px=7.2,
            radius_sd_px=1.6,
            radius_range_px=(3.1, 14.5),
            cells_per_tile=50,
            max_elongation=1.3,
            waviness=0.07,
            lobes=(2, 3),
            brightness=0.34,
            brightness_spread=0.4,
            edge_px=2.5,
            nucleus_shade=1.0,
            nucleus_share=0.9,
            spacing=0.95,
            is_clustered=True,
            processes=None,
            n_fibres_per_tile=0,
        ),
    }
)
MARKERS = tuple(STYLES)


def find_style(marker: str) -> MarkerStyle:
    """The style of `marker`, one of GFAP, NeuN, IBA1 and OLIG2.

    Raises:
        StudyError: for any other name.
    """
    if marker not in STYLES:
        raise StudyError(f"marker must be one of {', '.join(MARKERS)}, got {marker!r}")
    return STYLES[marker]
