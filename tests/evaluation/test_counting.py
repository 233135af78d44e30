import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from somaflow.errors import ScoringError
from somaflow.evaluation import MatchCounts, count_matches, overlaps, pair_table

THRESHOLDS = (0.3, 0.5, 0.75, 0.9)


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A reference and a prediction that is partly the same, so that high IoUs are common."""
    shape = draw(st.tuples(st.integers(1, 10), st.integers(1, 10)))
    images = hnp.arrays(np.int32, shape, elements=st.integers(0, 4))
    reference, other = draw(images), draw(images)
    differs = draw(hnp.arrays(np.bool_, shape, elements=st.booleans()))
    predicted = np.where(differs, other, reference)
    # Cellpose counts one cell too few in an image without any background pixel.
    reference[0, 0] = predicted[0, 0] = 0
    return reference, predicted


def _counts(tp: int, fp: int, fn: int) -> MatchCounts:
    return MatchCounts(tp=tp, fp=fp, fn=fn, n_reference=tp + fn, n_predicted=tp + fp)


def test_count_matches_of_equal_labels_finds_every_cell() -> None:
    """An image scored against itself has only true positives, at any threshold."""
    labels = np.kron(np.arange(1, 7).reshape(2, 3), np.ones((4, 4), dtype=int))

    assert _counts(6, 0, 0) == count_matches(labels, labels, iou_threshold=1.0)


def test_count_matches_counts_misses_and_extras() -> None:
    """One cell found, one lost and two invented are 1 TP, 1 FN and 2 FP."""
    reference, predicted = np.zeros((2, 20, 20), dtype=np.uint16)
    reference[:5, :5], reference[10:15, :5] = 1, 2
    predicted[:5, :5], predicted[10:15, 10:15], predicted[:5, 10:15] = 7, 8, 9

    assert _counts(1, 2, 1) == count_matches(reference, predicted)


@pytest.mark.parametrize(("iou_threshold", "tp"), [(0.5, 1), (0.500001, 0)])
def test_count_matches_accepts_an_iou_equal_to_the_threshold(iou_threshold: float, tp: int) -> None:
    """Two halves of a cell each have IoU 0.5 with it: one of them matches, and only at 0.5."""
    reference = np.zeros((4, 10), dtype=np.int64)
    reference[1:3, 1:9] = 1
    predicted = reference.copy()
    predicted[1:3, 5:9] = 2

    assert _counts(tp, 2 - tp, 1 - tp) == count_matches(reference, predicted, iou_threshold)


def test_count_matches_finds_the_largest_matching_below_half() -> None:
    """A cell with two partners leaves the one that another cell has no choice about."""
    # Reference 1 overlaps both predictions at IoU >= 0.3, reference 2 only the first.
    reference = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2, 0]])
    predicted = np.array([[3, 3, 4, 4, 4, 4, 4, 4, 4, 0]])

    ious = pair_table(reference, predicted)["iou"].tolist()
    assert ious == pytest.approx([2 / 6, 4 / 9, 3 / 7])
    assert _counts(2, 0, 0) == count_matches(reference, predicted, iou_threshold=0.3)


@pytest.mark.parametrize(
    ("n_reference", "n_predicted"), [(0, 0), (0, 1), (1, 0)], ids=["both", "reference", "predicted"]
)
def test_count_matches_of_empty_labels_has_no_match(n_reference: int, n_predicted: int) -> None:
    """Empty labels have no matches, and the other side's cells are all FP or FN."""
    reference = np.full((3, 3), n_reference)
    predicted = np.full((3, 3), n_predicted)

    assert _counts(0, n_predicted, n_reference) == count_matches(reference, predicted)


def test_count_matches_of_an_image_without_pixels_is_zero() -> None:
    """An image of no rows has no cells, rather than an obscure error."""
    empty = np.zeros((0, 5), dtype=np.uint8)

    assert _counts(0, 0, 0) == count_matches(empty, empty)


@settings(deadline=None)  # the first call compiles
@given(label_pairs())
def test_count_matches_equals_cellpose(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """TP, FP and FN are Cellpose's, at every threshold."""
    from cellpose.metrics import average_precision

    reference, predicted = pair
    with np.errstate(divide="ignore", invalid="ignore"):
        _, *expected = average_precision(reference, predicted, threshold=list(THRESHOLDS))

    for index, threshold in enumerate(THRESHOLDS):
        actual = count_matches(reference, predicted, threshold)
        assert [column[index] for column in expected] == [actual.tp, actual.fp, actual.fn]


@settings(deadline=None)  # the first call compiles
@given(label_pairs(), st.permutations(range(1, 5)), st.sampled_from(THRESHOLDS))
def test_count_matches_is_unchanged_under_relabelling(
    pair: tuple[np.ndarray, np.ndarray], ids: list[int], iou_threshold: float
) -> None:
    """Which id a cell has does not matter: permuted, with gaps or beyond 2**40."""
    reference, predicted = pair
    huge = np.array([0, *(np.array(ids) * 2**40)])
    gaps = np.array([0, *(np.array(ids) * 13)], dtype=np.uint8)

    expected = count_matches(reference, predicted, iou_threshold)
    assert expected == count_matches(huge[reference], gaps[predicted], iou_threshold)


@settings(deadline=None)  # the first call compiles
@given(label_pairs(), st.sampled_from(THRESHOLDS))
def test_count_matches_swaps_with_the_pair(
    pair: tuple[np.ndarray, np.ndarray], iou_threshold: float
) -> None:
    """Exchanging reference and prediction exchanges FP and FN, and so precision and recall."""
    there = count_matches(*pair, iou_threshold)
    back = count_matches(*pair[::-1], iou_threshold)

    assert (there.tp, there.fp, there.fn) == (back.tp, back.fn, back.fp)
    assert (there.n_reference, there.n_predicted) == (back.n_predicted, back.n_reference)


@settings(deadline=None)  # the first call compiles
@given(label_pairs())
def test_pair_table_is_the_same_with_and_without_a_dense_table(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """Labels too many for a dense table give the same pairs by sorting."""
    dense = pair_table(*pair)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "_DENSE_ENTRIES", 0)
        by_sorting = pair_table(*pair)

    pd.testing.assert_frame_equal(dense, by_sorting)


@settings(deadline=None)  # the first call compiles
@given(label_pairs())
def test_pair_table_holds_every_overlap(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """A row a pair of cells that share pixels, with their number and the IoU, sorted by labels."""
    reference, predicted = pair
    rows = []
    for a in np.unique(reference[reference > 0]):
        for b in np.unique(predicted[predicted > 0]):
            shared = ((reference == a) & (predicted == b)).sum()
            union = ((reference == a) | (predicted == b)).sum()
            if shared:
                rows.append((a, b, shared, shared / union))
    columns = ["reference_label", "predicted_label", "overlap_px", "iou"]

    actual = pair_table(reference, predicted)
    assert columns == list(actual.columns)
    assert rows == [tuple(row) for row in actual.itertuples(index=False)]


def test_count_matches_takes_more_labels_than_fit_a_dense_table() -> None:
    """Three million one-pixel cells, a dense table of 70 TB, are matched in memory."""
    labels = np.arange(1, 3_000_001).reshape(1500, 2000)

    assert _counts(3_000_000, 0, 0) == count_matches(labels, labels.copy())


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int32, np.uint32, np.uint64])
def test_count_matches_takes_any_integers_in_any_layout(dtype: str) -> None:
    """Big-endian, transposed and read-only labels count the same."""
    labels = np.kron(np.arange(1, 7).reshape(2, 3), np.ones((4, 3), dtype=int)).astype(dtype)
    turned = np.asfortranarray(labels)
    turned.flags.writeable = False

    assert _counts(6, 0, 0) == count_matches(labels, turned)


@pytest.mark.parametrize(
    ("reference", "predicted", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"one shape.*\(2, 3\) and \(3, 2\)"),
        (np.zeros((2, 3), int), np.zeros((2, 3)), r"predicted must be .*float64"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), int), r"reference must be .*bool"),
        (np.zeros((1, 2, 3), int), np.zeros((1, 2, 3), int), r"\(Y, X\).*\(1, 2, 3\)"),
        (np.zeros((2, 3), int), np.full((2, 3), -1), r"predicted labels must be ids >= 0.*-1"),
        (np.full((2, 3), 2**64 - 1, np.uint64), np.zeros((2, 3), int), r"fit in int64"),
    ],
)
def test_count_matches_refuses_labels_that_cannot_be_compared(
    reference: np.ndarray, predicted: np.ndarray, message: str
) -> None:
    """Wrong shapes, dtypes and ids are refused with what was found."""
    with pytest.raises(ScoringError, match=message):
        count_matches(reference, predicted)


@pytest.mark.parametrize("iou_threshold", [0, -0.5, 1.01, np.nan, "0.5", True, None])
def test_count_matches_refuses_a_threshold_outside_0_to_1(iou_threshold: float) -> None:
    """A threshold that no IoU or every IoU reaches is refused."""
    labels = np.ones((2, 2), dtype=int)

    with pytest.raises(ScoringError, match=r"iou_threshold must be a number in \(0, 1\]"):
        count_matches(labels, labels, iou_threshold)


def test_match_counts_cannot_be_changed() -> None:
    """Counts that were written down stay what they were."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        _counts(1, 2, 3).tp = 2  # type: ignore[misc]


def test_count_matches_reproduces_independent_counts_on_expert_labels(shared_data: Path) -> None:
    """All 36 expert labels of real brain images score as an independent program scored them."""
    folder = shared_data / "real-dev"
    experts = pd.read_csv(folder / "experts_manifest.csv")
    expected = pd.read_csv(folder / "experts_reference_iou50.csv").set_index(["name", "expert"])

    actual = {}
    for row in experts.itertuples():
        consensus = tifffile.imread(folder / f"{row.name}_masks.tif")
        counts = count_matches(consensus, tifffile.imread(folder / str(row.masks)))
        assert row.n_instances == counts.n_predicted
        actual[(row.name, row.expert)] = (counts.tp, counts.fp, counts.fn)

    assert len(actual) == 36
    assert actual == {
        key: tuple(expected.loc[key, ["tp", "fp", "fn"]].astype(int)) for key in expected.index
    }
