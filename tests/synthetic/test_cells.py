from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from somaflow.errors import StudyError
from somaflow.synthetic.cells import DrawnTile, draw_full_tile, draw_tile
from somaflow.synthetic.donors import draw_donor, make_tile_rng
from somaflow.synthetic.markers import FULL_TILE_PX, MARKERS, STYLES

SHAPE = (520, 694)
N_DONORS = 24


@cache
def draw_one(marker: str, index: int) -> DrawnTile:
    donor = draw_donor(7, index)
    return draw_full_tile(make_tile_rng(7, donor, marker, 1), marker, donor, SHAPE)


@pytest.mark.parametrize("marker", MARKERS)
def test_tile_has_the_promised_form(marker: str) -> None:
    """A tile is (2, Y, X) uint8 and its labels (Y, X) uint32, numbered 1..N without gaps."""
    donor = draw_donor(0, 0)
    image, labels = draw_tile(np.random.default_rng(0), marker, donor, (200, 300))
    assert ((2, 200, 300), np.uint8) == (image.shape, image.dtype)
    assert ((200, 300), np.uint32) == (labels.shape, labels.dtype)
    assert list(range(labels.max() + 1)) == np.unique(labels).tolist()


@pytest.mark.parametrize("marker", MARKERS)
def test_tile_cells_have_the_studys_sizes(marker: str) -> None:
    """Equivalent radii of the labelled bodies have the published mean (6 %) and spread (20 %)."""
    tiles = [draw_one(marker, index) for index in range(N_DONORS)]
    areas = np.concatenate([np.bincount(tile.labels.ravel())[1:] for tile in tiles])
    radii = np.sqrt(areas / np.pi)
    style = STYLES[marker]
    assert radii.mean() == pytest.approx(style.radius_px, rel=0.06)
    assert radii.std() == pytest.approx(style.radius_sd_px, rel=0.2)


@pytest.mark.parametrize("marker", MARKERS)
def test_tile_cells_have_the_studys_density(marker: str) -> None:
    """Cells per full tile, with the donors' own densities divided out, have the published mean."""
    style = STYLES[marker]
    share = SHAPE[0] * SHAPE[1] / FULL_TILE_PX
    counts = sum(int(draw_one(marker, index).labels.max()) for index in range(N_DONORS))
    multipliers = sum(draw_donor(7, i).density_multipliers[marker] for i in range(N_DONORS))
    expected = style.cells_per_tile * share * multipliers
    # Four standard deviations of a Poisson count, and a little for cells that found no place.
    assert abs(counts - expected) < 4 * np.sqrt(expected) + 0.02 * expected


@pytest.mark.parametrize("marker", MARKERS)
def test_tile_cell_bodies_are_one_piece_and_hold_their_nucleus(marker: str) -> None:
    """Each label is connected, and nearly all of its nucleus lies inside it."""
    for index in range(6):
        tile = draw_one(marker, index)
        for label in range(1, int(tile.labels.max()) + 1):
            body, nucleus = tile.labels == label, tile.nuclei == label
            assert 1 == ndimage.label(body)[1]
            assert nucleus.any()
            assert (body & nucleus).sum() >= 0.9 * nucleus.sum()


@pytest.mark.parametrize("marker", MARKERS)
def test_tile_shows_nuclei_without_the_marker_too(marker: str) -> None:
    """DAPI holds nuclei that belong to no label, so that a nucleus model alone is not enough."""
    tile = draw_one(marker, 0)
    others = tile.nuclei > tile.labels.max()
    assert others.any()
    # A body may lie over the rim of a neighbour's nucleus, not more.
    assert (tile.labels[others] > 0).mean() < 0.1
    assert tile.image[0][others].mean() > 1.3 * tile.image[0][tile.nuclei == 0].mean()


@pytest.mark.parametrize("marker", MARKERS)
def test_tile_marker_channel_shows_the_labelled_bodies(marker: str) -> None:
    """Bodies are brighter in the marker channel than the tissue between, for every donor."""
    for index in range(N_DONORS):
        tile = draw_one(marker, index)
        if tile.labels.any():
            inside, outside = tile.image[1][tile.labels > 0], tile.image[1][tile.labels == 0]
            assert inside.mean() > 1.2 * outside.mean()


def test_tile_of_olig2_is_the_dimmest() -> None:
    """OLIG2 stands out least, as in the real study."""
    contrast = {}
    for marker in MARKERS:
        gaps = []
        for index in range(N_DONORS):
            tile = draw_one(marker, index)
            if tile.labels.any():
                stain = tile.image[1].astype(float)
                gap = stain[tile.labels > 0].mean() - stain[tile.labels == 0].mean()
                gaps.append(gap / draw_donor(7, index).marker.gain)
        contrast[marker] = np.mean(gaps)
    assert "OLIG2" == min(contrast, key=lambda marker: contrast[marker])


def test_tile_depends_on_donor_marker_and_snap_alone() -> None:
    """A tile drawn again is the same to the bit; another snap of the same donor is not."""
    donor = draw_donor(0, 3)
    draws = [
        draw_tile(make_tile_rng(0, donor, "IBA1", snap), "IBA1", donor, (96, 96))
        for snap in (5, 5, 6)
    ]
    np.testing.assert_array_equal(draws[0][0], draws[1][0])
    np.testing.assert_array_equal(draws[0][1], draws[1][1])
    assert not np.array_equal(draws[0][0], draws[2][0])


def test_tile_of_an_unknown_marker_is_refused() -> None:
    """A marker without cell bodies is named, with the four that have them."""
    with pytest.raises(StudyError, match=r"GFAP, NeuN, IBA1, OLIG2.*'PECAM'"):
        draw_tile(np.random.default_rng(0), "PECAM", draw_donor(0, 0), (96, 96))
