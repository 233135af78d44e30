"""How associations move with the threshold of positivity."""

import numpy as np
import pandas as pd
import pytest

from somaflow.errors import ScoringError
from somaflow.figures import draw_stability
from somaflow.figures.charts import BASELINE, BLUE
from tests.figures.donor_tables import MARKERS, by_threshold
from tests.figures.tables import count_px, has_clear_margin, open_png

NUMBERS = ["rho", "rho_low", "rho_high", "rho_sd", "sign_consistency", "share_q05"]
BAND = "#eef1f5"


def test_stability_is_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes, in any order of phenotypes; each measure shows."""
    table = by_threshold()
    assert draw_stability(table) == draw_stability(table.sort_values("phenotype", kind="stable"))
    changed = [draw_stability(table.assign(**{name: table[name] / 2})) for name in NUMBERS]
    assert 1 + len(NUMBERS) == len({draw_stability(table), *changed})


def test_stability_of_five_markers_fits_a_page():
    """Five markers side by side stay within 1400 px, uncut."""
    picture = draw_stability(by_threshold(markers=(*MARKERS, "PECAM")), primary="p75")
    assert 1400 == open_png(picture).shape[1]
    assert has_clear_margin(picture)


def test_stability_shows_both_recipes():
    """The baseline is grey; what it is compared with has its own colour."""
    picture = draw_stability(by_threshold())
    assert count_px(picture, BLUE) > 500
    assert count_px(picture, BASELINE) > 500


def test_stability_marks_the_primary_phenotype():
    """A band marks it, and there is none where it was not looked at."""
    assert count_px(draw_stability(by_threshold(), primary="p75"), BAND) > 5000
    assert 0 == count_px(draw_stability(by_threshold(), primary="p55"), BAND)


def test_stability_of_one_row_or_of_no_number_is_drawn_uncut():
    """The least table, and one of which nothing is defined."""
    none = by_threshold()
    none[NUMBERS] = np.nan
    for table in (by_threshold(("baseline",), ("GFAP",), ("p75",)), none):
        assert has_clear_margin(draw_stability(table))


def test_stability_shows_one_feature_and_trait():
    """Rows of others change nothing; what is not there is refused by name."""
    table = by_threshold()
    both = pd.concat([table, table.assign(trait="nft", rho=0.1)])
    assert draw_stability(table, trait="braaksc") == draw_stability(both, trait="braaksc")
    assert draw_stability(table) != draw_stability(both, trait="nft")
    with pytest.raises(ScoringError, match="positive_density_per_mpx with gpath"):
        draw_stability(table, trait="gpath")
