from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.evaluation import compare, summarise
from somaflow.evaluation.bootstrap import METRICS

# The study's published test results: 24 tiles, 1072 reference cells, IoU 0.5.
PUBLISHED = {
    "baseline": (841, 8596, 0.097836, 0.784515, 0.173976),
    "generic": (564, 1126, 0.500888, 0.526119, 0.513194),
    "gfap_only": (663, 2805, 0.236364, 0.618470, 0.342017),
    "hybrid": (611, 1317, 0.463933, 0.569963, 0.511511),
    "generic_gated": (564, 1123, 0.502226, 0.526119, 0.513895),
}


def _table(*counts: tuple[float, float, float], **columns: Any) -> pd.DataFrame:
    table = pd.DataFrame(counts, columns=["tp", "fp", "fn"])
    return table.assign(tile_id=[f"tile-{row}" for row in range(len(counts))], **columns)


def _random_table(n_images: int = 30, n_donors: int = 6, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, size=(n_images, 3))
    donors = [f"donor-{row % n_donors}" for row in range(n_images)]
    markers = [("NeuN", "GFAP", "IBA1")[row % 3] for row in range(n_images)]
    return _table(*map(tuple, counts), donor=donors, marker=markers)


@st.composite
def count_tables(draw: st.DrawFn) -> pd.DataFrame:
    """A few donors with a few images of few cells, so that empty ones are common."""
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from("abc"), *[st.integers(0, 3)] * 3), min_size=1, max_size=8
        )
    )
    donors, *counts = zip(*rows, strict=True)
    return _table(*zip(*counts, strict=True), donor=list(donors))


@pytest.mark.parametrize("model", PUBLISHED)
def test_summarise_reproduces_the_published_scores(model: str) -> None:
    """Pooled precision, recall and F1 are the study's, to the six digits it gives."""
    tp, n_predicted, *expected = PUBLISHED[model]

    row = summarise(_table((tp, n_predicted - tp, 1072 - tp))).iloc[0]
    actual = row[["precision_pooled", "recall_pooled", "f1_pooled"]].astype(float).round(6)
    assert expected == actual.tolist()


@pytest.mark.parametrize(("model", "ap50_pooled"), [("baseline", 0.0953), ("generic", 0.345)])
def test_summarise_pools_ap50_as_the_study_would(model: str, ap50_pooled: float) -> None:
    """AP50 pooled over images is another number than the published mean over images."""
    tp, n_predicted, *_ = PUBLISHED[model]

    row = summarise(_table((tp, n_predicted - tp, 1072 - tp))).iloc[0]
    assert row["ap50_pooled"] == pytest.approx(ap50_pooled, abs=0.0005)


def test_summarise_tells_the_image_mean_from_the_pooled_ap50() -> None:
    """One small perfect and one large poor image: mean 0.6, pooled 0.21."""
    row = summarise(_table((1, 0, 0), (20, 40, 40))).iloc[0]

    assert row["ap50_image_mean"] == pytest.approx((1 + 0.2) / 2)
    assert row["ap50_pooled"] == pytest.approx(21 / 101)


def test_summarise_has_a_row_a_group_in_order_of_appearance() -> None:
    """Groups come as they appear, with their totals, and need no other group's rows."""
    table = _random_table()
    both = summarise(table, by="marker")
    alone = summarise(table[table["marker"] == "GFAP"], by=["marker"])

    assert both["marker"].tolist() == ["NeuN", "GFAP", "IBA1"]
    assert both["tp"].sum() == table["tp"].sum()
    assert both["n_images"].tolist() == [10, 10, 10]
    assert both["n_donors"].tolist() == [2, 2, 2]
    pd.testing.assert_frame_equal(alone, both.iloc[[1]].reset_index(drop=True))


def test_summarise_groups_by_several_columns() -> None:
    """Each combination that occurs is a row; the columns come first, in the order asked for."""
    table = _random_table().assign(recipe=["a", "b"] * 15)

    actual = summarise(table, by=["recipe", "marker"])
    assert list(actual.columns[:4]) == ["recipe", "marker", "n_images", "n_donors"]
    assert len(actual) == 6


def test_summarise_columns_are_all_there_in_order() -> None:
    """The public columns: sizes, each metric with its interval, and the unit."""
    metrics = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    sizes = ["n_images", "n_donors", "tp", "fp", "fn", "n_reference", "n_predicted"]

    actual = summarise(_table((1, 2, 3)))
    assert [*sizes, *metrics, "bootstrap_unit"] == list(actual.columns)
    assert actual.iloc[0][sizes].tolist() == [1, 0, 1, 2, 3, 4, 3]


def test_summarise_of_equal_donors_has_intervals_of_no_width() -> None:
    """Where all donors are alike there is nothing to be unsure about."""
    table = _table(*[(8, 1, 2), (3, 3, 0)] * 5, donor=list("aabbccddee"))

    row = summarise(table).iloc[0]
    for metric in METRICS:
        assert row[f"{metric}_low"] == pytest.approx(row[metric], abs=1e-12)
        assert row[f"{metric}_high"] == pytest.approx(row[metric], abs=1e-12)


def test_summarise_resamples_donors_with_all_their_images() -> None:
    """Two donors of many equal images: a resample is one of them twice, or both."""
    table = _table(*[(10, 0, 0)] * 20, *[(0, 10, 10)] * 20, donor=["a"] * 20 + ["b"] * 20)

    by_donor = summarise(table).iloc[0]
    by_image = summarise(table.drop(columns="donor")).iloc[0]
    assert (by_donor["ap50_image_mean_low"], by_donor["ap50_image_mean_high"]) == (0, 1)
    assert by_image["ap50_image_mean_low"] > 0.3
    assert by_image["ap50_image_mean_high"] < 0.7


def test_summarise_interval_agrees_with_a_plain_loop() -> None:
    """The interval is what drawing donors one by one would give, up to the luck of the draw."""
    table = _random_table(n_images=60, n_donors=20)
    groups = [group[["tp", "fp", "fn"]].sum() for _, group in table.groupby("donor")]
    rng = np.random.default_rng(5)
    draws = []
    for _ in range(2000):
        tp, fp, fn = sum(groups[donor] for donor in rng.integers(0, 20, size=20))
        draws.append(2 * tp / (2 * tp + fp + fn))

    row = summarise(table, n_resamples=4000).iloc[0]
    expected = np.percentile(draws, [2.5, 97.5])
    assert [row["f1_pooled_low"], row["f1_pooled_high"]] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("columns", "unit"),
    [
        ({"donor": ["a", "a", "b"]}, "donor"),
        ({"donor": ["a", "", "b"]}, "image"),
        ({"donor": ["a", None, "b"]}, "image"),
        ({"donor": ["", "", ""]}, "image"),
        ({}, "image"),
        ({"donor": ["a", "a", "b"], "split_level": ["image"] * 3}, "image"),
        ({"donor": ["a", "a", "b"], "split_level": ["donor"] * 3}, "donor"),
        ({"donor": ["a", "a", "a"]}, "none"),
    ],
)
def test_summarise_names_the_unit_it_resampled(columns: dict[str, list[str]], unit: str) -> None:
    """Intervals over images never pass for intervals over donors."""
    actual = summarise(_table((1, 2, 3), (4, 5, 6), (7, 8, 9), **columns)).iloc[0]

    assert unit == actual["bootstrap_unit"]
    assert (unit == "none") == bool(np.isnan(actual["f1_pooled_low"]))


def test_summarise_of_an_empty_image_is_perfect_agreement() -> None:
    """No cell expected and none found is right, for the image and for the pool."""
    row = summarise(_table((0, 0, 0), (0, 0, 0))).iloc[0]

    assert row[list(METRICS)].tolist() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("counts", "precision", "recall"), [((0, 0, 4), np.nan, 0), ((0, 4, 0), 0, np.nan)]
)
def test_summarise_leaves_a_ratio_without_cells_undefined(
    counts: tuple[int, int, int], precision: float, recall: float
) -> None:
    """Precision of no prediction and recall of no reference are NaN, while F1 and AP50 are 0."""
    row = summarise(_table(counts)).iloc[0]

    expected = [0, 0, precision, recall, 0]
    np.testing.assert_array_equal(row[list(METRICS)].astype(float), expected)


def test_summarise_leaves_undefined_resamples_out_of_the_interval() -> None:
    """A donor without predictions, drawn alone, does not turn the precision interval into NaN."""
    row = summarise(_table((5, 5, 0), (0, 0, 10), donor=["a", "b"])).iloc[0]

    assert (row["precision_pooled_low"], row["precision_pooled_high"]) == (0.5, 0.5)
    assert (row["recall_pooled_low"], row["recall_pooled_high"]) == (0, 1)


@settings(deadline=None)
@given(count_tables(), st.randoms(use_true_random=False))
def test_summarise_does_not_depend_on_the_order_of_rows(
    table: pd.DataFrame, random: object
) -> None:
    """The same images in another order give the same row."""
    order = list(range(len(table)))
    random.shuffle(order)  # type: ignore[attr-defined]

    expected = summarise(table, n_resamples=50)
    pd.testing.assert_frame_equal(expected, summarise(table.iloc[order], n_resamples=50))


@settings(deadline=None)
@given(count_tables())
def test_summarise_swaps_precision_and_recall_with_the_pair(table: pd.DataFrame) -> None:
    """Exchanging FP and FN exchanges precision and recall with their intervals, nothing else."""
    swapped = table.rename(columns={"fp": "fn", "fn": "fp"})
    names = {"precision_pooled": "recall_pooled", "recall_pooled": "precision_pooled"}

    there = summarise(table, n_resamples=50).iloc[0]
    back = summarise(swapped, n_resamples=50).iloc[0]
    for metric in METRICS:
        for end in ("", "_low", "_high"):
            expected = there[f"{metric}{end}"]
            assert back[f"{names.get(metric, metric)}{end}"] == pytest.approx(expected, nan_ok=True)


def test_summarise_is_deterministic_by_seed() -> None:
    """Equal seeds give equal intervals, another seed gives others."""
    table = _random_table()

    pd.testing.assert_frame_equal(summarise(table, seed=3), summarise(table, seed=3))
    assert not summarise(table, seed=3).equals(summarise(table, seed=4))


def test_summarise_draws_the_same_resamples_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many images are resampled block by block, with the same result."""
    table = _random_table()
    expected = summarise(table, n_resamples=100)
    monkeypatch.setattr("somaflow.evaluation.bootstrap._BLOCK_ENTRIES", 7 * 6)

    pd.testing.assert_frame_equal(expected, summarise(table, n_resamples=100))


@pytest.mark.parametrize(
    ("table", "by", "message"),
    [
        (pd.DataFrame({"tp": [1], "fp": [1]}), None, "must have a column fn"),
        (_table((1, 1, 1)), "marker", "must have a column marker"),
        (_table((1, 1, 1)).iloc[:0], None, "empty table"),
        (_table((1, -1, 1)), None, "whole numbers >= 0"),
        (_table((1, 0.5, 1)), None, "whole numbers >= 0"),
        (_table((1, np.nan, 1)), None, "whole numbers >= 0"),
        (_table((1, 1, 1), n_reference=[3]), None, r"n_reference must equal tp \+ fn, got 3 and 2"),
        (_table((1, 1, 1), n_predicted=[1]), None, r"n_predicted must equal tp \+ fp, got 1 and 2"),
    ],
)
def test_summarise_refuses_tables_that_are_not_counts(
    table: pd.DataFrame, by: str | None, message: str
) -> None:
    """Missing columns, non-counts and contradictions are refused before any number comes out."""
    with pytest.raises(ScoringError, match=message):
        summarise(table, by=by)


@pytest.mark.parametrize("n_resamples", [0, -1, 10.0])
def test_summarise_refuses_resamples_that_are_not_a_number_of_times(n_resamples: int) -> None:
    """Zero resamples have no interval."""
    with pytest.raises(ScoringError, match="n_resamples must be a whole number >= 1"):
        summarise(_random_table(), n_resamples=n_resamples)


@settings(deadline=None)
@given(count_tables())
def test_compare_of_a_table_with_itself_is_exactly_zero(table: pd.DataFrame) -> None:
    """No difference and an interval of no width: both sides see the same resamples."""
    row = compare(table, table, n_resamples=50).iloc[0]
    ends = ("", "_low", "_high")

    differences = [row[f"{metric}_difference{end}"] for metric in METRICS for end in ends]
    assert {value for value in differences if not np.isnan(value)} <= {0.0}
    if table["donor"].nunique() > 1:
        assert row["ap50_pooled_difference_low"] == 0


def test_compare_is_b_minus_a_of_the_summaries() -> None:
    """The difference is that of the two summaries, matched by tile and not by row."""
    a = _random_table()
    b = a.assign(fp=a["fp"] // 2).sample(frac=1, random_state=1)
    expected = summarise(b)["f1_pooled"] - summarise(a)["f1_pooled"]

    actual = compare(a, b)
    assert actual["f1_pooled_difference"].tolist() == pytest.approx(expected.tolist())
    assert actual["recall_pooled_difference"].tolist() == [0]
    assert actual["bootstrap_unit"].tolist() == ["donor"]


def test_compare_cancels_what_a_hard_donor_costs_both() -> None:
    """A small gain on every tile is sure, though donors differ far more than the models do."""
    a = _table(
        *[(10 * donor, 20, 100 - 10 * donor) for donor in range(1, 9)], donor=list("abcdefgh")
    )
    b = a.assign(fp=18)

    paired, alone = compare(a, b).iloc[0], summarise(a).iloc[0]
    assert paired["f1_pooled_difference_low"] > 0
    assert paired["f1_pooled_difference"] < alone["f1_pooled_high"] - alone["f1_pooled"]


def test_compare_has_a_row_a_group() -> None:
    """Groups are compared one by one, with the public columns in order."""
    a = _random_table()
    ends = ("", "_low", "_high")
    metrics = [f"{metric}_difference{end}" for metric in METRICS for end in ends]
    sizes = ["marker", "n_images", "n_donors", "n_reference"]

    actual = compare(a, a.assign(fp=a["fp"] + 1), by="marker")
    assert [*sizes, *metrics, "bootstrap_unit"] == list(actual.columns)
    assert actual["marker"].tolist() == ["NeuN", "GFAP", "IBA1"]
    assert (actual["precision_pooled_difference_high"] < 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[1:], "only in counts_a: tile-0"),
        (lambda table: table.replace("tile-0", "tile-x"), "tile-0; only in counts_b: tile-x"),
        (lambda table: pd.concat([table, table]), "counts_b must have each tile once"),
        (lambda table: table.drop(columns="tile_id"), "counts_b must have a column tile_id"),
        (lambda table: table.assign(fn=table["fn"] + 1), "same n_reference in both tables"),
        (lambda table: table.assign(donor="z"), "same donor in both tables"),
    ],
)
def test_compare_refuses_tables_of_other_tiles(change: object, message: str) -> None:
    """Only the same tiles, references and donors are compared; the error names what differs."""
    a = _random_table()

    with pytest.raises(ScoringError, match=message):
        compare(a, change(a))  # type: ignore[operator]
