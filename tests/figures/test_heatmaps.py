"""Heat maps of scores over thresholds."""

import numpy as np
import pandas as pd
import pytest

from somaflow.errors import ScoringError
from somaflow.evaluation.operating_points import choose_operating_points
from somaflow.figures import draw_threshold_maps
from somaflow.figures.charts import VERMILLION
from tests.figures.tables import count_px, has_clear_margin, open_png, threshold_scores

SETTING = {"cellprob_threshold": -2.0, "flow_threshold": 0.0, "min_size_px": 15}


def test_maps_are_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes whatever the order of rows; another marker gives others."""
    pooled = threshold_scores()
    picture = draw_threshold_maps(pooled, "generic", "OLIG2")
    assert picture == draw_threshold_maps(pooled[::-1], "generic", "OLIG2")
    assert picture != draw_threshold_maps(pooled, "generic", "all")


def test_maps_frame_the_chosen_setting():
    """A frame appears with a setting, as a mapping or as the table of operating points."""
    pooled = threshold_scores()
    assert 0 == count_px(draw_threshold_maps(pooled, "generic", "OLIG2"), VERMILLION)
    framed = draw_threshold_maps(pooled, "generic", "OLIG2", SETTING)
    assert count_px(framed, VERMILLION) > 100
    points = choose_operating_points(pooled, 0.6)
    assert count_px(draw_threshold_maps(pooled, "generic", "OLIG2", points), VERMILLION) > 100


def test_maps_put_no_check_last():
    """A flow threshold of 0 is the laxest: its frame lies to the right of all others'."""
    pooled = threshold_scores()
    columns = []
    for flow in (0.4, 0.8, 0.0):
        setting = SETTING | {"flow_threshold": flow}
        picture = open_png(draw_threshold_maps(pooled, "generic", "OLIG2", setting))
        # Without the frame in the legend.
        red = (picture[:-60] == (0xD5, 0x5E, 0)).all(axis=2)
        columns.append(np.nonzero(red)[1].mean())
    assert columns == sorted(columns)


def test_maps_of_undefined_scores_are_drawn():
    """A setting that has no score, or all of them, leaves cells without a number."""
    pooled = threshold_scores()
    for rows in (pooled.index[:3], pooled.index):
        holes = pooled.copy()
        holes.loc[rows, "f1_pooled"] = np.nan
        assert has_clear_margin(draw_threshold_maps(holes, "generic", "all"))


@pytest.mark.parametrize(("n_sizes", "width"), [(1, 1000), (2, 1180), (6, 1300)])
def test_maps_have_one_a_min_size(n_sizes, width):
    """One map does not stretch over a page, and many of them fit on it."""
    pooled = threshold_scores()
    own = pooled[pooled["min_size_px"] == 15]
    sizes = [own.assign(min_size_px=15 * place) for place in range(n_sizes)]
    picture = draw_threshold_maps(pd.concat(sizes, ignore_index=True), "generic", "OLIG2")
    assert abs(width - open_png(picture).shape[1]) <= 1
    assert has_clear_margin(picture)


def test_maps_of_what_was_not_swept_are_refused():
    """The error names what was swept; a chosen setting without its thresholds is refused too."""
    pooled = threshold_scores()
    with pytest.raises(ScoringError, match="swept are generic on OLIG2, all"):
        draw_threshold_maps(pooled, "generic", "GFAP")
    with pytest.raises(ScoringError, match="flow_threshold"):
        draw_threshold_maps(pooled, "generic", "OLIG2", {"cellprob_threshold": 0})
