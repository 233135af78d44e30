"""Metrics of many groups at once are those of `summarise`."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.evaluation import summarise
from somaflow.evaluation.bootstrap import METRICS
from somaflow.evaluation.pooling import add_overall, pooled_metrics


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), *[st.integers(0, 3)] * 3),
                min_size=1, max_size=12))  # fmt: skip
def test_pooled_metrics_are_those_of_summarise(rows: list[tuple[str, str, int, int, int]]) -> None:
    """Same groups in the same order, same sums, same metrics to the last bit, 0/0 included."""
    counts = pd.DataFrame(rows, columns=["marker", "recipe", "tp", "fp", "fn"])
    columns = ["marker", "recipe", "n_images", "tp", "fp", "fn", "n_reference", "n_predicted"]

    expected = summarise(counts, by=["marker", "recipe"], n_resamples=1)
    actual = pooled_metrics(counts, by=["marker", "recipe"])
    pd.testing.assert_frame_equal(expected[[*columns, *METRICS]], actual, check_exact=True)


def test_add_overall_counts_every_row_once_more() -> None:
    """The rows of all markers come first, as rows of the marker "all"."""
    counts = pd.DataFrame({"marker": ["GFAP", "NeuN"], "tp": [1, 2]})

    actual = add_overall(counts)
    assert ["all", "all", "GFAP", "NeuN"] == actual.marker.tolist()
    assert [1, 2, 1, 2] == actual.tp.tolist()


def test_pooled_metrics_refuse_what_is_not_counts() -> None:
    """A missing column or an empty table is refused by name."""
    counts = pd.DataFrame({"tp": [1], "fp": [1], "fn": [1]})

    with pytest.raises(ScoringError, match="a column marker; found tp, fp, fn"):
        pooled_metrics(counts, by=["marker"])
    with pytest.raises(ScoringError, match="empty table"):
        pooled_metrics(counts.iloc[:0], by=["tp"])
