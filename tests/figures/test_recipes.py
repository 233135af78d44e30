"""Charts of recipes' scores."""

import numpy as np
import pytest

from somaflow.errors import ScoringError
from somaflow.figures import draw_recipe_scores
from somaflow.figures.charts import BLUE, VERMILLION
from tests.figures.tables import (
    count_px,
    has_clear_margin,
    open_png,
    recipe_scores,
    without_intervals,
)

TWELVE = ["baseline", *(f"recipe-with-a-long-name-{number}" for number in range(11))]


def test_scores_are_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes, and another split gives others."""
    table = recipe_scores(["baseline", "generic"])
    picture = draw_recipe_scores(table)
    assert picture == draw_recipe_scores(table.copy())
    assert picture != draw_recipe_scores(table, split="val")


def test_scores_of_twelve_recipes_fit_a_page():
    """Twelve recipes by five groups stay within 1400 px, a row of 30 px or more each, uncut."""
    picture = draw_recipe_scores(recipe_scores(TWELVE))
    height, width, _ = open_png(picture).shape
    assert 1400 == width
    assert 12 * 30 < height < 1000
    assert has_clear_margin(picture)


def test_scores_grow_by_a_row_a_recipe():
    """A recipe more adds the same height every time."""
    heights = [len(open_png(draw_recipe_scores(recipe_scores(TWELVE[:n])))) for n in (4, 5, 6)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 0


def test_scores_without_intervals_are_dots_alone():
    """Of a single donor the dots stay and the bars go."""
    table = recipe_scores(["baseline", "generic", "two-stage"], ["GFAP"])
    with_bars = count_px(draw_recipe_scores(table), BLUE)
    without = count_px(draw_recipe_scores(without_intervals(table)), BLUE)
    assert 0 < without < with_bars


def test_scores_mark_the_best_and_never_the_baseline():
    """One dot has the colour of the best; with the baseline alone, none has."""
    assert count_px(draw_recipe_scores(recipe_scores(["baseline", "a", "b"])), VERMILLION) > 0
    assert 0 == count_px(draw_recipe_scores(recipe_scores(["baseline"], ["GFAP"])), VERMILLION)


def test_scores_take_the_recipe_called_baseline_wherever_it_stands():
    """The order of rows does not decide which recipe the dashed line belongs to."""
    table = recipe_scores(["balanced", "baseline"])
    assert draw_recipe_scores(table) == draw_recipe_scores(table, baseline="baseline")
    assert draw_recipe_scores(table) != draw_recipe_scores(table, baseline="balanced")


def test_scores_that_are_undefined_leave_a_gap():
    """A recipe without a score on one marker is drawn with the others."""
    table = recipe_scores(["baseline", "generic"])
    table.loc[table["marker"] == "OLIG2", ["f1_pooled", "f1_pooled_low", "f1_pooled_high"]] = np.nan
    assert has_clear_margin(draw_recipe_scores(table))


def test_scores_of_a_split_that_was_not_scored_are_refused():
    """The error names the split, and a missing column or baseline by name."""
    table = recipe_scores(["baseline"])
    with pytest.raises(ScoringError, match="on train"):
        draw_recipe_scores(table, split="train")
    with pytest.raises(ScoringError, match="ap50_pooled"):
        draw_recipe_scores(table, metric="ap50_pooled")
    with pytest.raises(ScoringError, match="'other' among baseline"):
        draw_recipe_scores(table, baseline="other")
