"""Two operating points a recipe and marker, chosen on val."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.evaluation.operating_points import choose_operating_points, pooled_settings

GRID = list(product([-2.0, 0.0, 1.0], [0.2, 0.4, 0.0], [15, 50]))
SETTING = ["cellprob_threshold", "flow_threshold", "min_size_px"]


def _swept(seed: int = 0, largest: int = 12) -> pd.DataFrame:
    """Two recipes, two markers of two tiles each, every setting of the grid."""
    rng = np.random.default_rng(seed)
    rows = []
    for recipe, (marker, n_reference) in product(("a", "b"), (("GFAP", 10), ("OLIG2", 4))):
        for tile, setting in product(range(2), GRID):
            tp, fp = rng.integers(0, n_reference + 1), rng.integers(0, largest)
            counts = {"tp": tp, "fp": fp, "fn": n_reference - tp}
            totals = {"n_reference": n_reference, "n_predicted": tp + fp}
            names = {"recipe": recipe, "marker": marker, "split": "val", "donor": f"d{tile}"}
            names["tile_id"] = f"{marker}-{tile}"
            rows.append(names | dict(zip(SETTING, setting, strict=True)) | counts | totals)
    return pd.DataFrame(rows)


def _pooled(rows: list[tuple[float, float, int, int, int, int]]) -> pd.DataFrame:
    """Pooled settings of one tile from (cellprob, flow, min size, tp, fp, fn)."""
    table = pd.DataFrame(rows, columns=[*SETTING, "tp", "fp", "fn"])
    pooled = pooled_settings(table.assign(recipe="a", marker="GFAP", split="val", tile_id="t"))
    return pooled[pooled.marker == "GFAP"]


def test_pooled_settings_are_sums_over_tiles() -> None:
    """A row a recipe, marker (all first) and setting; scores follow from its summed counts."""
    swept = _swept()
    pooled = pooled_settings(swept)

    assert 2 * 3 * len(GRID) == len(pooled)
    assert ["all", "GFAP", "OLIG2"] == list(dict.fromkeys(pooled.marker))
    own = swept[swept.recipe == "b"].set_index(SETTING).sort_index().loc[GRID[7]]
    row = pooled.set_index(["recipe", "marker", *SETTING]).loc[("b", "all", *GRID[7])]
    tp, fp, fn = own[["tp", "fp", "fn"]].sum()
    assert (4, tp, tp + fp, tp + fn) == (row.n_images, row.tp, row.n_predicted, row.n_reference)
    assert (tp / (tp + fp), tp / (tp + fn)) == (row.precision_pooled, row.recall_pooled)
    assert 2 * tp / (2 * tp + fp + fn) == row.f1_pooled
    assert (own.tp / (own.tp + own.fp + own.fn)).mean() == pytest.approx(row.ap50_image_mean)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.5, 0.7, 0.99]))
def test_operating_points_are_the_best_there_are(seed: int, required_recall: float) -> None:
    """No setting beats best-f1 in F1, nor precise in precision among those with enough recall."""
    pooled = pooled_settings(_swept(seed))
    points = choose_operating_points(pooled, required_recall)

    assert ["best-f1", "precise"] * 6 == points.point.tolist()
    for row in points.itertuples():
        own = pooled[(pooled.recipe == row.recipe) & (pooled.marker == row.marker)]
        enough = own[own.recall_pooled >= required_recall]
        if row.point == "best-f1":
            assert own.f1_pooled.max() == row.f1_pooled
            assert row.reached
        elif row.reached:
            assert enough.precision_pooled.max() == row.precision_pooled
            assert row.recall_pooled >= required_recall
        else:
            assert enough.empty
            assert own.recall_pooled.max() == row.recall_pooled


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_operating_points_do_not_depend_on_the_order_of_rows(seed: int, random: object) -> None:
    """With few cells many settings are equal; which is taken is not left to chance."""
    pooled = pooled_settings(_swept(seed, largest=2))
    order = list(range(len(pooled)))
    random.shuffle(order)  # type: ignore[attr-defined]
    keys = ["recipe", "marker", "point"]

    expected = choose_operating_points(pooled, 0.5).sort_values(keys, ignore_index=True)
    actual = choose_operating_points(pooled.iloc[order], 0.5).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(expected, actual)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([(-2, 0.4, 15), (0, 0.4, 15), (1, 0.4, 15)], (0, 0.4, 15)),
        ([(0, 0.6, 50), (0, 0.6, 15), (0, 0.4, 100)], (0, 0.6, 15)),
        # A flow threshold of 0 checks nothing: it lies beyond 0.8, not below 0.4.
        ([(0, 0.0, 15), (0, 0.8, 15), (0, 0.4, 100), (0, 0.8, 50)], (0, 0.8, 15)),
        ([(0, 0.4, 100), (0, 0.4, 50)], (0, 0.4, 50)),
    ],
)
def test_operating_points_of_equal_settings_are_near_the_defaults(
    settings: list[tuple[float, float, int]], expected: tuple[float, float, int]
) -> None:
    """Thresholds that change nothing stay as Cellpose has them, or as near as the grid goes."""
    pooled = _pooled([(*setting, 8, 2, 2) for setting in settings])

    points = choose_operating_points(pooled, 0.5)
    assert [expected, expected] == list(points[SETTING].itertuples(index=False, name=None))


def test_precise_point_falls_back_on_the_highest_recall() -> None:
    """Where no setting has the recall, the nearest to it is taken and marked as not reaching it."""
    pooled = _pooled([(0, 0.4, 15, 5, 0, 5), (1, 0.4, 15, 6, 9, 4), (2, 0.4, 15, 6, 2, 4)])
    point = choose_operating_points(pooled, 0.9).iloc[1]

    assert ("precise", False, 2) == (point.point, point.reached, point.cellprob_threshold)


def test_operating_points_pass_over_settings_that_predict_nothing() -> None:
    """Precision of no prediction is undefined, not the best."""
    pooled = _pooled([(0, 0.4, 15, 1, 9, 9), (2, 0.4, 15, 0, 0, 10)])

    points = choose_operating_points(pooled, 0.5)
    assert [0, 0] == points.cellprob_threshold.tolist()


def test_operating_points_of_a_marker_without_reference_exist() -> None:
    """Recall of nothing is undefined: the required recall counts as not reached."""
    pooled = _pooled([(0, 0.4, 15, 0, 3, 0), (2, 0.4, 15, 0, 1, 0)])

    points = choose_operating_points(pooled, 0.5)
    assert [True, False] == points.reached.tolist()


@pytest.mark.parametrize("split", ["test", "train"])
def test_operating_points_refuse_all_but_val(split: str) -> None:
    """One row of another split is one too many, at either step."""
    swept = _swept()
    pooled = pooled_settings(swept)
    for table in (swept, pooled):
        table.loc[3, "split"] = split

    with pytest.raises(ScoringError, match=f"on val alone, found rows of {split}"):
        pooled_settings(swept)
    with pytest.raises(ScoringError, match=f"on val alone, found rows of {split}"):
        choose_operating_points(pooled, 0.5)
