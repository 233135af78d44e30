"""Heat map and forest plot of what is associated with donors' traits."""

import numpy as np
import pytest

from somaflow.errors import ScoringError
from somaflow.figures import draw_associations, draw_effects
from somaflow.figures.associations import format_rho, series_style
from somaflow.figures.charts import BASELINE, BLUE, INK
from tests.figures.donor_tables import FEATURES, associations
from tests.figures.tables import count_px, has_clear_margin, open_png

TEN = (*FEATURES, *(f"feature_with_a_long_name_{number}" for number in range(7)))
BAND = "#eceef2"


def with_q(q):
    """The same small table of rho with one q for all."""
    return associations(("baseline",), ("GFAP",)).assign(rho=0.2, q=q)


def test_associations_are_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes, and other numbers give others."""
    table = associations()
    for draw in (draw_associations, draw_effects):
        assert draw(table) == draw(table.copy())
        assert draw(table) != draw(table.assign(rho=-table.rho))


def test_associations_of_forty_rows_fit_a_page():
    """40 rows by 8 traits of two recipes stay within 1400 px, 24 px or more a row, uncut."""
    picture = draw_associations(associations(features=TEN))
    height, width, _ = open_png(picture).shape
    assert width <= 1400
    assert 40 * 24 < height < 1500
    assert has_clear_margin(picture)


def test_associations_frame_those_below_the_level_of_q():
    """A q of .04 is framed in ink, one of .05 or NaN is not."""
    framed, open_ones, undefined = (
        count_px(draw_associations(with_q(q)), INK) for q in (0.04, 0.05, np.nan)
    )
    assert framed > open_ones + 500
    assert open_ones == undefined


def test_associations_show_rho_by_hue():
    """Positive and negative rho of one size differ in colour, both clearly from 0."""
    blue_ends, orange_ends = (
        count_px(draw_associations(with_q(0.5).assign(rho=rho)), colour)
        for rho, colour in ((-0.3, "#4f9fd0"), (0.3, "#ee8d52"))
    )
    assert min(blue_ends, orange_ends) > 5000


def test_associations_leave_undefined_cells_grey():
    """NaN is no zero: its cells have the grey that no rho has."""
    table = associations()
    table["rho"] = np.nan
    assert count_px(draw_associations(table), "#e6e8ec") > 10_000
    assert 0 == count_px(draw_associations(associations()), "#e6e8ec")


def test_associations_of_one_row_are_drawn_uncut():
    """The least table, and one without any number, in both charts."""
    one = associations(("baseline",), ("GFAP",), ("positive_fraction",), ("nft",))
    ends = ["rho", "rho_low", "rho_high", "p", "q"]
    none = associations().assign(**dict.fromkeys(ends, np.nan))
    for table in (one, none):
        for draw in (draw_associations, draw_effects):
            assert has_clear_margin(draw(table))


def test_associations_take_one_phenotype_and_what_needs_none():
    """Rows of another phenotype or region change nothing, and alone they are refused."""
    table = associations()
    other = table.assign(phenotype="p90", rho=0.9)
    more = np.concatenate([table.to_numpy(), other.to_numpy()])
    both = type(table)(more, columns=table.columns).astype(table.dtypes)
    assert draw_associations(table) == draw_associations(both)
    with pytest.raises(ScoringError, match="phenotype p75 in region all"):
        draw_associations(other)
    with pytest.raises(ScoringError, match="region Grey"):
        draw_effects(table, region="Grey")


def test_effects_set_recipes_apart_and_the_baseline_in_grey():
    """Each recipe has its colour and mark, wherever the baseline stands."""
    style = series_style(["hybrid", "baseline", "generic"])
    assert (BASELINE, "s") == style["baseline"]
    assert 3 == len({colour for colour, _ in style.values()}) == len({m for _, m in style.values()})
    assert style["hybrid"] == series_style(["baseline", "hybrid"])["hybrid"]
    assert count_px(draw_effects(associations()), BLUE) > 500


def test_effects_band_is_what_so_many_donors_can_show():
    """The band of 69 donors is about half as wide as that of 20, and gone below five."""
    widths = [
        count_px(draw_effects(associations(features=FEATURES[:1]).assign(n=n)), BAND)
        for n in (20, 69, 3)
    ]
    assert 0.45 < widths[1] / widths[0] < 0.62
    assert 0 == widths[2]


def test_effects_of_several_features_are_drawn_below_each_other():
    """Each further feature adds the same height."""
    heights = [len(open_png(draw_effects(associations(features=FEATURES[:n])))) for n in (2, 3)]
    one = len(open_png(draw_effects(associations(features=FEATURES[:1]))))
    assert heights[1] - heights[0] > 300
    assert heights[0] > one


@pytest.mark.parametrize(
    ("rho", "words"),
    [(0.314, ".31"), (-0.05, "−.05"), (-0.001, ".00"), (1.0, "1.00"), (np.nan, "–")],
)
def test_rho_is_written_as_people_do(rho, words):
    """No zero before the point, a true minus, and no minus before nothing."""
    assert words == format_rho(rho)
