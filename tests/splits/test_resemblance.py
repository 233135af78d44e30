"""Which planes count as the same field."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from somaflow.splits.resemblance import choose_reduction, find_matches, make_thumbnail
from tests.splits.fields import draw_field, draw_spots, make_versions

VERSIONS = sorted(make_versions(draw_field(0)))


def _match(planes):
    reduction = choose_reduction([plane.shape for plane in planes])
    thumbnails = [make_thumbnail(plane, reduction) for plane in planes]
    return find_matches(thumbnails, range(len(planes)), reduction)


@pytest.mark.parametrize("version", VERSIONS)
def test_match_finds_a_version_of_the_same_field(version):
    """A copy is found whether re-encoded, bent, noisy, shifted, mirrored, turned or all of it."""
    for seed in range(3):
        pair = make_versions(draw_field(seed))[version]
        assert 1 == len(_match(list(pair)))


def test_match_tells_different_fields_apart():
    """Fields drawn from different seeds never match."""
    assert [] == _match([draw_field(seed) for seed in range(15)])


def test_match_tells_near_empty_tiles_apart():
    """One bright spot fits any other spot, which is no evidence of one field."""
    assert [] == _match([draw_spots(seed) for seed in range(14)])


def test_match_says_how_the_second_lies_on_the_first():
    """Shift and turn are those that were applied, to within one thumbnail px."""
    plane = draw_field(1, (300, 300))
    (match,) = _match([plane[:240, :240], plane[40:280, 20:260]])
    assert (0, False) == (match.turned_degrees, match.flipped)
    assert np.allclose((40, 20), match.shift_px, atol=choose_reduction([(240, 240)]))
    (match,) = _match([plane, np.rot90(plane, -1)])
    assert (90, False) == (match.turned_degrees, match.flipped)


def test_match_compares_tiles_of_different_sizes():
    """A crop is found in the larger tile that it was cut from."""
    plane = draw_field(2, (320, 420), n_cells=90)
    assert 1 == len(_match([plane, draw_field(3), plane[40:300, 30:377]]))


def test_match_leaves_pairs_of_one_group_alone():
    """Planes of one split are not compared, and indices are those of the caller's order."""
    plane, other = draw_field(1), draw_field(2)
    thumbnails = [make_thumbnail(p, 4) for p in (plane, other, plane, plane)]
    found = {frozenset((m.first, m.second)) for m in find_matches(thumbnails, [1, 0, 1, 0], 4)}
    assert {frozenset((0, 3)), frozenset((2, 3))} == found


def test_thumbnail_refuses_to_stand_for_nothing():
    """A constant plane, and one too small to hold structure, have no thumbnail."""
    assert make_thumbnail(np.full((512, 512), 7, np.uint8), 8) is None
    assert make_thumbnail(draw_field(0, (64, 64)), 4) is None


def _read_real(folder: Path, pattern: str) -> list[np.ndarray]:
    planes = [tifffile.imread(path) for path in sorted(folder.glob(pattern))]
    return [plane for plane in planes if plane.ndim == 2]


@pytest.mark.parametrize("pattern", ["*cfos*_img.tif", "dsb_nuc*_img.tif"])
def test_match_holds_on_real_images(shared_data, pattern):
    """No two real images match each other, and every version of each of them is found."""
    planes = _read_real(shared_data / "real-dev", pattern)
    assert [] == _match(planes)
    missed = [
        (index, version)
        for index, plane in enumerate(planes)
        for version, pair in make_versions(plane).items()
        if not _match(list(pair))
    ]
    assert [] == missed
