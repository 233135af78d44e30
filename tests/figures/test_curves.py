"""Curves of label budgets and of trainings."""

import numpy as np
import pytest

from somaflow.errors import ScoringError
from somaflow.figures import draw_budget_curve, draw_training
from somaflow.figures.charts import BLUE, INK, VERMILLION
from tests.figures.tables import (
    budget_scores,
    count_px,
    has_clear_margin,
    open_png,
    training_history,
    without_intervals,
)


def test_budget_curve_is_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes, and the order of rows does not matter."""
    curve = budget_scores(["all", "GFAP"])
    picture = draw_budget_curve(curve)
    assert picture == draw_budget_curve(curve.copy())
    by_budget = curve.sort_values("budget", ascending=False, kind="stable")
    assert picture == draw_budget_curve(by_budget)


@pytest.mark.parametrize(("n_markers", "n_rows"), [(1, 1), (3, 1), (5, 2)])
def test_budget_curve_has_a_panel_a_marker(n_markers, n_rows):
    """Up to three panels stand in a row, and nothing is cut off."""
    markers = ["all", "GFAP", "IBA1", "NeuN", "OLIG2"][:n_markers]
    picture = draw_budget_curve(budget_scores(markers))
    assert (82 + n_rows * 358, 1300) == open_png(picture).shape[:2]
    assert has_clear_margin(picture)


def test_budget_curve_of_one_donor_and_repeat_has_dots_alone():
    """Without intervals and sd the bars go and the dots stay."""
    curve = budget_scores(["GFAP"])
    with_bars = count_px(draw_budget_curve(curve), BLUE)
    alone = without_intervals(curve).assign(n_repeats=1)
    assert 0 < count_px(draw_budget_curve(alone), BLUE) < with_bars


def test_budget_curve_shows_the_baseline_of_its_markers():
    """The dashed line is there for a marker that has a baseline, and only for it."""
    curve = budget_scores(["GFAP"])
    without = draw_budget_curve(curve)
    assert count_px(without, INK) < count_px(draw_budget_curve(curve, baseline={"GFAP": 0.6}), INK)
    assert without == draw_budget_curve(curve, baseline={"OLIG2": 0.6})


def test_budget_curve_says_where_a_repeat_is_missing():
    """A budget with fewer repeats than the others is marked."""
    curve = budget_scores(["GFAP"])
    fewer = curve.assign(n_repeats=[5, 4, 5])
    assert draw_budget_curve(curve) != draw_budget_curve(fewer)


def test_budget_curve_of_another_split_is_refused():
    """The error names the split that has no rows."""
    with pytest.raises(ScoringError, match="on val"):
        draw_budget_curve(budget_scores(), split="val")


def test_training_is_drawn_alike_from_equal_histories():
    """Equal histories give equal bytes of one size, and the title shows."""
    picture = draw_training(training_history(), "generic")
    assert picture == draw_training(training_history(), "generic")
    assert picture != draw_training(training_history(), "balanced")
    assert (700, 1300) == open_png(picture).shape[:2]


def test_training_marks_the_best_epoch_by_f1():
    """Moving the best epoch moves the mark; without scores there is none."""
    history = training_history()
    columns = [_mark_column(draw_training(history, "x"))]
    columns.append(_mark_column(draw_training(history.assign(val_f1_pooled=history.epoch), "x")))
    assert columns[0] < columns[1]
    unscored = history.assign(val_f1_pooled=np.nan)
    assert 0 == count_px(draw_training(unscored, "x"), VERMILLION)


@pytest.mark.parametrize("n_epochs", [0, 1, 300])
def test_training_of_any_length_is_drawn(n_epochs):
    """No epoch yet, a single one and many make a picture of the same size."""
    assert (700, 1300) == open_png(draw_training(training_history(n_epochs), "x")).shape[:2]


def test_training_without_a_column_is_refused():
    """The error names the column."""
    with pytest.raises(ScoringError, match="learning_rate"):
        draw_training(training_history().drop(columns="learning_rate"), "x")


def _mark_column(picture):
    """Middle column of the px that have the colour of the best epoch."""
    _, columns = np.nonzero((open_png(picture)[:340] == (0xD5, 0x5E, 0)).all(axis=2))
    return float(np.median(columns))
