import numpy as np

from somaflow.synthetic.donors import draw_donor, draw_donors, tabulate_donors
from somaflow.synthetic.markers import MARKERS


def test_donors_of_a_larger_study_hold_those_of_a_smaller() -> None:
    """A donor depends on the seed and its own number alone."""
    assert draw_donors(5, 3) == draw_donors(5, 9)[:3]
    assert draw_donor(5, 2) == draw_donors(5, 3)[2]


def test_donors_differ_between_seeds() -> None:
    """Another seed gives another donor of the same name."""
    first, second = draw_donor(1, 0), draw_donor(2, 0)
    assert first.projid == second.projid
    assert first.density_multipliers != second.density_multipliers
    assert first.dapi != second.dapi


def test_donor_names_have_eight_digits_and_some_lead_with_zeros() -> None:
    """Names are unique, and a numeric read of some of them loses zeros."""
    names = [donor.projid for donor in draw_donors(0, 200)]
    assert 200 == len(set(names))
    assert {8} == {len(name) for name in names}
    assert {True, False} == {name.startswith("00") for name in names}


def test_donor_density_multipliers_average_to_one() -> None:
    """Markers' mean densities are the study's, whatever the donors' spread."""
    table = tabulate_donors(draw_donors(0, 4000))
    for marker in MARKERS:
        assert abs(table[f"density_{marker}"].mean() - 1) < 0.03


def test_donors_differ_in_gain_blur_background_debris_and_bleed() -> None:
    """Every optical property of either channel varies by a quarter and more of its mean."""
    table = tabulate_donors(draw_donors(0, 60))
    for channel in ("dapi", "marker"):
        for name in ("gain", "blur_px", "background", "debris_per_mpx", "bleed"):
            column = table[f"{channel}_{name}"]
            assert column.std() > 0.22 * column.mean(), (channel, name)


def test_donor_densities_of_two_markers_are_unrelated() -> None:
    """A donor rich in one kind of cell is not rich in another."""
    table = tabulate_donors(draw_donors(0, 2000))
    names = [f"density_{marker}" for marker in MARKERS]
    correlation = np.corrcoef(np.log(table[names].to_numpy()).T)
    assert np.abs(correlation - np.eye(len(MARKERS))).max() < 0.08
