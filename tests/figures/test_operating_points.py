"""Precision against recall of all thresholds."""

import pytest

from somaflow.errors import ScoringError
from somaflow.evaluation.operating_points import choose_operating_points
from somaflow.figures import draw_precision_recall
from somaflow.figures.charts import BLUE
from tests.figures.tables import MARKERS, count_px, has_clear_margin, open_png, threshold_scores


def test_precision_recall_is_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes, and chosen points show."""
    pooled = threshold_scores()
    points = choose_operating_points(pooled, 0.6)
    picture = draw_precision_recall(pooled, points)
    assert picture == draw_precision_recall(pooled.copy(), points.copy())
    bare = draw_precision_recall(pooled)
    assert count_px(bare, BLUE) < count_px(picture, BLUE)


@pytest.mark.parametrize("n_recipes", [1, 12])
def test_precision_recall_of_many_recipes_is_not_cut_off(n_recipes):
    """Panels and legend of one recipe or twelve stay on a page 1300 px wide."""
    recipes = [f"recipe-{number}" for number in range(n_recipes)]
    pooled = threshold_scores(recipes, MARKERS)
    picture = draw_precision_recall(pooled, choose_operating_points(pooled, 0.6))
    assert abs(1300 - open_png(picture).shape[1]) <= 1
    assert has_clear_margin(picture)


def test_precision_recall_of_one_marker_is_one_panel():
    """A single panel is not stretched over a whole page."""
    picture = draw_precision_recall(threshold_scores(markers=["OLIG2"]))
    assert 1000 == open_png(picture).shape[1]


def test_precision_recall_of_nothing_is_refused():
    """An empty table is refused rather than drawn as empty axes."""
    with pytest.raises(ScoringError, match="at least one row"):
        draw_precision_recall(threshold_scores().iloc[:0])
