"""The map of tiles by donor and marker."""

import numpy as np
import pandas as pd
import pytest

from somaflow.errors import ScoringError
from somaflow.figures import draw_coverage
from somaflow.figures.charts import BLUE
from tests.figures.donor_tables import MARKERS, coverage
from tests.figures.tables import count_px, has_clear_margin, open_png

PARTLY, NONE, COMPLETE = "#f6b83c", "#b34700", "#e9f1f7"
"""Fills of cells; a legend's patch of each is drawn too."""


def complete(n_donors: int = 3) -> pd.DataFrame:
    """A study that lacks nothing."""
    table = coverage(n_donors)
    counts = {"n_found": 53, "n_refused": 0, "n_segmented": 53, "n_passing_quality": 53}
    return table.assign(**counts, has_traits=True)


def test_coverage_is_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes, in any order of rows."""
    table = coverage(9)
    assert draw_coverage(table) == draw_coverage(table.sample(frac=1, random_state=0))
    assert draw_coverage(table) != draw_coverage(coverage(10))


def test_coverage_of_69_donors_fits_a_page():
    """69 donors by five markers stay within 1400 x 900 px, uncut."""
    picture = draw_coverage(coverage(69, (*MARKERS, "PECAM")))
    height, width, _ = open_png(picture).shape
    assert 1300 < width <= 1400
    assert height <= 900
    assert has_clear_margin(picture)


def test_coverage_makes_gaps_stand_out():
    """A cell with missing tiles, and one with none, have a colour that complete ones lack."""
    table = complete()
    quiet = draw_coverage(table)
    table.loc[0, "n_segmented"] = 40
    gap = draw_coverage(table)
    table.loc[0, "n_segmented"] = 0
    empty = draw_coverage(table)
    assert count_px(gap, PARTLY) > 2 * count_px(quiet, PARTLY)
    assert count_px(empty, NONE) > 2 * count_px(quiet, NONE)
    assert count_px(quiet, COMPLETE) > count_px(gap, COMPLETE)


def test_coverage_of_unknown_expectation_counts_what_was_found():
    """Where nobody says how many there should be, all found are complete."""
    table = complete().assign(n_expected=np.nan)
    assert count_px(draw_coverage(table), PARTLY) == count_px(draw_coverage(complete()), PARTLY)


def test_coverage_before_segmentation_shows_what_was_found():
    """Without commit records the counts are those of usable tiles."""
    unknown = {"n_segmented": np.nan, "n_quarantined": np.nan, "n_passing_quality": np.nan}
    table = complete().assign(**unknown)
    assert count_px(draw_coverage(table), NONE) == count_px(draw_coverage(complete()), NONE)


def test_coverage_marks_tiles_below_the_limits_of_quality():
    """A corner tells that some tiles do not pass; elsewhere only the legend is blue."""
    table = complete()
    table.loc[0, "n_passing_quality"] = 50
    assert count_px(draw_coverage(table), BLUE) > count_px(draw_coverage(complete()), BLUE) > 0


def test_coverage_marks_donors_without_traits():
    """One donor without traits looks different from none, and so do all of them."""
    table = complete()
    one = table.assign(has_traits=table.donor != table.donor[0])
    pictures = {draw_coverage(each) for each in (table, one, table.assign(has_traits=False))}
    assert 3 == len(pictures)


def test_coverage_keeps_a_donor_without_tiles():
    """A donor of the trait table alone, whose marker is empty, is a row of the map."""
    table = complete()
    alone = table.iloc[:1].assign(donor="99999999", marker="", n_found=0, n_segmented=0)
    one_more = open_png(draw_coverage(pd.concat([table, alone])))
    assert len(one_more) > len(open_png(draw_coverage(table)))


def test_coverage_of_one_donor_or_of_nothing_segmented_is_drawn():
    """The least and the worst study are uncut too."""
    for table in (coverage(1, ("GFAP",)), coverage(30, found=False)):
        assert has_clear_margin(draw_coverage(table))


def test_coverage_refuses_two_rows_of_a_cell():
    """A pair that occurs twice is named, and an empty table refused."""
    table = complete()
    with pytest.raises(ScoringError, match="two for 00900001"):
        draw_coverage(pd.concat([table, table.iloc[:1]]))
    with pytest.raises(ScoringError, match="at least one row"):
        draw_coverage(table.iloc[:0])
