from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from somaflow.synthetic.donors import draw_donors
from somaflow.synthetic.markers import MARKERS
from somaflow.synthetic.plan import choose_labelled, count_labelled, plan_tiles

DONORS = draw_donors(0, 12)


@given(st.integers(1, 12), st.integers(1, 200))
def test_plan_comes_back_to_a_pair_only_after_all_others(n_donors: int, n_tiles: int) -> None:
    """Tiles of any two pairs of donor and marker differ by at most one, and snaps are unique."""
    tiles = plan_tiles(DONORS[:n_donors], n_tiles)
    assert n_tiles == len({tile.snap for tile in tiles})
    counts = Counter((tile.donor.projid, tile.marker) for tile in tiles)
    every = [counts[donor.projid, marker] for donor in DONORS[:n_donors] for marker in MARKERS]
    assert n_tiles == sum(every)
    assert max(every) - min(every) <= 1


@given(st.integers(4, 12), st.integers(1, 200))
def test_plan_reaches_as_many_donors_and_markers_as_it_can(n_donors: int, n_tiles: int) -> None:
    """Few tiles go to as many donors as there are tiles, and through the markers in turn."""
    tiles = plan_tiles(DONORS[:n_donors], n_tiles)
    assert min(n_donors, n_tiles) == len({tile.donor.projid for tile in tiles})
    assert min(4, n_tiles) == len({tile.marker for tile in tiles})


def test_plan_labels_several_donors_with_every_marker() -> None:
    """The default study labels its twelve donors, each with all four markers."""
    labelled = choose_labelled(plan_tiles(DONORS, 96), count_labelled(96))
    assert {marker: 12 for marker in MARKERS} == Counter(tile.marker for tile in labelled)
    assert {4} == set(Counter(tile.donor.projid for tile in labelled).values())


@given(st.integers(1, 12), st.integers(1, 200))
def test_plan_labels_tiles_of_the_study(n_donors: int, n_tiles: int) -> None:
    """As many as asked, each a tile of the plan, in the order of the snaps."""
    tiles = plan_tiles(DONORS[:n_donors], n_tiles)
    n_labelled = count_labelled(n_tiles)
    labelled = choose_labelled(tiles, n_labelled)
    assert n_labelled == len(labelled)
    chosen = {tile.snap for tile in labelled}
    assert labelled == [tile for tile in tiles if tile.snap in chosen]


def test_plan_labels_a_quarter_between_48_and_120() -> None:
    """Small studies are labelled whole, large ones no more than the real study was."""
    assert [5, 24, 48, 50, 120] == [count_labelled(n) for n in (5, 24, 96, 200, 14_749)]


def test_plan_names_files_as_the_export_does() -> None:
    """Width comes before height, and NeuN has the channels' names in its files."""
    gfap, neun = plan_tiles(DONORS, 2)
    expected = ("Snap-1_b0c0x0-694y0-520.tiff", "Snap-1_b0c1x0-694y0-520.tiff")
    assert expected == gfap.file_names(520, 694)
    expected = ("Snap-2_dapi-b0c0x0-694y0-520.tiff", "Snap-2_NeuN-b0c1x0-694y0-520.tiff")
    assert expected == neun.file_names(520, 694)
    assert "tiles/GFAP/GFAP/00900001/Grey/Snap-1.tiff_files" == str(gfap.folder)
    assert "neun_2" == neun.stem
