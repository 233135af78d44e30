"""Charts of what gates remove."""

import pytest

from somaflow.errors import ScoringError
from somaflow.figures import draw_gate_effect
from somaflow.figures.charts import BLUE, FAINT, VERMILLION
from tests.figures.tables import (
    count_px,
    gate_scores,
    has_clear_margin,
    open_png,
    removed_cells,
    without_intervals,
)


def test_gate_effect_is_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes, with a row a marker and one over all of them."""
    picture = draw_gate_effect(removed_cells(), gate_scores())
    assert picture == draw_gate_effect(removed_cells().copy(), gate_scores().copy())
    assert (82 + 3 * 228 + 72, 1300) == open_png(picture).shape[:2]
    assert has_clear_margin(picture)


def test_gate_effect_hatches_what_was_removed():
    """The same wrong cells fill less of their bars when some of them are removed."""
    removed = removed_cells(["GFAP"])
    total = removed["fp_kept"] + removed["fp_removed"]
    kept = removed.assign(fp_kept=total, fp_removed=0)
    scores = gate_scores(["GFAP"])
    hatched, solid = (
        count_px(draw_gate_effect(table, scores), VERMILLION) for table in (removed, kept)
    )
    assert hatched < solid


def test_gate_effect_of_one_donor_has_dots_alone():
    """Without intervals the bars beside the raw scores go."""
    removed, scores = removed_cells(["GFAP"]), gate_scores(["GFAP"])
    with_bars = count_px(draw_gate_effect(removed, scores), FAINT)
    assert count_px(draw_gate_effect(removed, without_intervals(scores)), FAINT) < with_bars


def test_gate_effect_on_empty_predictions_is_drawn():
    """Where nothing was predicted there are no bars beyond the legend's, and no error."""
    removed, scores = removed_cells(["GFAP"], n_cells=0), gate_scores(["GFAP"])
    empty = count_px(draw_gate_effect(removed, scores), BLUE)
    assert 0 < empty < count_px(draw_gate_effect(removed_cells(["GFAP"]), scores), BLUE)


def test_gate_effect_without_scores_is_refused():
    """The error says what is missing."""
    with pytest.raises(ScoringError, match="gated"):
        draw_gate_effect(removed_cells(), gate_scores().drop(columns="gated"))
