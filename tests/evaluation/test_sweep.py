"""What the threshold sweep and the diagnosis promise: eval's own counts, and why cells are lost."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from cellpose import dynamics
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.evaluation import MatchCounts, count_matches, pair_table
from somaflow.evaluation.candidates import describe_cells
from somaflow.evaluation.sweep import sweep_thresholds
from somaflow.recipes import Recipe
from somaflow.segmenter import Prediction, Segmenter, limit_threads, load_segmenter, prepare_input
from somaflow.settings import ThresholdGrid
from somaflow.synthetic.nuclei import draw_nuclei
from tests.segmenter.objects import draw_objects, draw_prediction, predict_exactly

SETTING = ["cellprob_threshold", "flow_threshold", "min_size_px"]
COUNTS = ["tp", "fp", "fn", "n_reference", "n_predicted"]
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def tiny() -> Segmenter:
    limit_threads(1)
    return load_segmenter("tiny", device="cpu")


def list_settings(grid: ThresholdGrid) -> Iterator[tuple[float, float, int]]:
    for cellprob_threshold in grid.cellprob_threshold:
        for flow_threshold in grid.flow_threshold:
            for min_size_px in grid.min_size_px:
                yield cellprob_threshold, flow_threshold, min_size_px


def counts_of(row: object) -> MatchCounts:
    return MatchCounts(**{name: getattr(row, name) for name in COUNTS})


def compute_masks(
    prediction: Prediction, cellprob_threshold: float, flow_threshold: float, min_size_px: int
) -> np.ndarray:
    """The part of CellposeModel.eval that comes after the net."""
    return dynamics.resize_and_compute_masks(
        prediction.flows,
        prediction.cellprob,
        niter=200,
        cellprob_threshold=cellprob_threshold,
        flow_threshold=flow_threshold,
        min_size=min_size_px,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("seed", [3, 9])
def test_sweep_equals_separate_evals(tiny: Segmenter, seed: int) -> None:
    """All 105 settings have the labels and counts of a CellposeModel.eval of their own."""
    tile, reference = draw_nuclei(np.random.default_rng(seed), (96, 110))
    prediction = tiny.predict(tile)

    swept = sweep_thresholds(tiny, prediction, reference, ThresholdGrid())

    assert list(list_settings(ThresholdGrid())) == list(swept[SETTING].itertuples(index=False))
    assert [*SETTING, *COUNTS] == list(swept.columns)
    assert 105 == len(swept)
    assert swept.tp.max() > 5
    for row in swept.itertuples():
        labels = tiny.cellpose_model.eval(
            prepare_input(tile),
            channel_axis=0,
            cellprob_threshold=row.cellprob_threshold,
            flow_threshold=row.flow_threshold,
            min_size=row.min_size_px,
        )[0]
        candidates = tiny.find_candidates(prediction, row.cellprob_threshold)
        np.testing.assert_array_equal(
            labels, candidates.select(row.flow_threshold, row.min_size_px)
        )
        assert count_matches(reference, labels.astype(np.uint32)) == counts_of(row)


@given(SEEDS, st.integers(1, 15), st.sampled_from([0.1, 0.3, 0.5, 0.75]))
@settings(max_examples=15)
def test_sweep_of_any_prediction_equals_separate_counts(
    tiny: Segmenter, seed: int, n_objects: int, iou_threshold: float
) -> None:
    """Nested, touching and scattered objects are counted at every setting as if it were alone."""
    rng = np.random.default_rng(seed)
    reference = draw_objects(rng, (60, 70), n_objects)
    prediction = draw_prediction(rng, reference)
    grid = ThresholdGrid(
        cellprob_threshold=[-1.0, 1.5], flow_threshold=[0.1, 0.5, 0.0], min_size_px=[0, 15, 60]
    )

    swept = sweep_thresholds(tiny, prediction, reference, grid, iou_threshold)

    for row in swept.itertuples():
        labels = compute_masks(
            prediction, row.cellprob_threshold, row.flow_threshold, row.min_size_px
        )
        assert count_matches(reference, labels, iou_threshold) == counts_of(row)


def make_ring_and_disc() -> np.ndarray:
    """A ring (1) around a disc (2): filling the ring's hole takes the disc."""
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(y - 32, x - 32)
    return (((distance > 13) & (distance < 20)) + 2 * (distance < 8)).astype(np.uint16)


def test_sweep_counts_nested_objects_as_eval_does(tiny: Segmenter) -> None:
    """A disc in a ring is found where the ring fails the flow check, and swallowed elsewhere."""
    objects = make_ring_and_disc()
    reference, exact = objects == 2, predict_exactly(objects)
    # Flows of 0.4 of their length make an error of 0.36.
    scale = np.where(objects == 1, 0.4, 1).astype(np.float32)
    prediction = Prediction(scale * exact.flows, exact.cellprob)
    grid = ThresholdGrid(cellprob_threshold=[0.0], min_size_px=[0, 15, 250])

    swept = sweep_thresholds(tiny, prediction, reference.astype(int), grid)

    assert tiny.find_candidates(prediction, 0.0).has_nested
    for row in swept.itertuples():
        labels = compute_masks(prediction, 0.0, row.flow_threshold, row.min_size_px)
        assert count_matches(reference.astype(int), labels) == counts_of(row)
    found = swept[swept.tp == 1]
    assert [(0.2, 0), (0.2, 15)] == list(found[SETTING[1:]].itertuples(index=False))


def test_sweep_of_nothing_found_counts_misses(tiny: Segmenter) -> None:
    """A net that sees no cell anywhere misses every reference cell, at every setting."""
    reference = draw_objects(np.random.default_rng(0), (60, 70), 6)
    prediction = Prediction(np.zeros((2, 60, 70), np.float32), np.full((60, 70), -20, np.float32))

    swept = sweep_thresholds(tiny, prediction, reference, ThresholdGrid())

    n_reference = np.unique(reference[reference > 0]).size
    assert [(0, 0, n_reference)] * 105 == list(swept[["tp", "fp", "fn"]].itertuples(index=False))


def test_sweep_of_a_tile_without_cells_counts_false_positives(tiny: Segmenter) -> None:
    """Without reference cells everything predicted is false."""
    objects = draw_objects(np.random.default_rng(0), (60, 70), 6)
    prediction = draw_prediction(np.random.default_rng(0), objects)

    swept = sweep_thresholds(tiny, prediction, np.zeros_like(objects), ThresholdGrid())

    assert (swept.fp == swept.n_predicted).all()
    assert swept.fp.max() > 0
    assert 0 == swept[["tp", "fn", "n_reference"]].to_numpy().max()


@pytest.mark.parametrize("iou_threshold", [0, -1, 1.5, float("nan")])
def test_iou_threshold_must_be_a_share(tiny: Segmenter, iou_threshold: float) -> None:
    """A threshold that is no IoU is refused by the sweep and the diagnosis."""
    reference = make_ring_and_disc()
    prediction = draw_prediction(np.random.default_rng(0), reference)

    with pytest.raises(ScoringError, match=r"\(0, 1\]"):
        sweep_thresholds(tiny, prediction, reference, ThresholdGrid(), iou_threshold)
    with pytest.raises(ScoringError, match=r"\(0, 1\]"):
        describe_cells(tiny, prediction, reference, Recipe(), iou_threshold)


def test_reference_of_another_tile_is_refused(tiny: Segmenter) -> None:
    """Labels of another size are never compared."""
    prediction = draw_prediction(np.random.default_rng(0), make_ring_and_disc())
    other = np.zeros((50, 64), dtype=np.uint16)

    with pytest.raises(ScoringError, match="one shape"):
        sweep_thresholds(tiny, prediction, other, ThresholdGrid())
    with pytest.raises(ScoringError, match="one shape"):
        describe_cells(tiny, prediction, other, Recipe())


def make_known_case() -> tuple[np.ndarray, Prediction]:
    """Four reference cells: found, found by halves, too small to be kept, and never seen."""
    reference = np.zeros((64, 80), dtype=np.int32)
    reference[5:25, 5:25] = 10
    reference[5:25, 40:70] = 20
    reference[40:44, 5:12] = 30
    reference[40:60, 40:60] = 40
    seen = np.where(reference == 40, 0, reference)
    seen[5:25, 50:70] = 0
    exact = predict_exactly(np.unique(seen, return_inverse=True)[1])
    return reference, Prediction(exact.flows, np.where(reference == 40, -1, exact.cellprob))


def test_diagnosis_says_what_became_of_each_reference_cell(tiny: Segmenter) -> None:
    """Size, cell probability, best overlap and whether it was found, for each reference cell."""
    reference, prediction = make_known_case()

    cells, _ = describe_cells(tiny, prediction, reference, Recipe(min_size_px=60))

    expected = pd.DataFrame(
        {
            "label": [10, 20, 30, 40],
            "area_px": [400, 600, 28, 400],
            "cellprob_median": [4.0, -2.0, 4.0, -1.0],
            "best_iou": [1.0, 200 / 600, 0.0, 0.0],
            "found": [True, False, False, False],
        }
    )
    pd.testing.assert_frame_equal(expected, cells)


def test_diagnosis_says_what_became_of_each_candidate(tiny: Segmenter) -> None:
    """Each object the net saw has its size, overlap and the threshold that removed it."""
    reference, prediction = make_known_case()

    _, candidates = describe_cells(tiny, prediction, reference, Recipe(min_size_px=60))

    assert [400, 200, 28] == candidates.area_px.tolist()
    assert [True, True, False] == candidates.kept.tolist()
    assert ["", "", "size"] == candidates.removed_by.tolist()
    assert [True, False, True] == candidates.matches.tolist()
    np.testing.assert_allclose(candidates.best_iou, [1, 200 / 600, 1])
    assert (candidates.flow_error < 0.01).all()
    assert [4.0, 4.0, 4.0] == candidates.cellprob_median.tolist()


def test_diagnosis_names_the_flow_check(tiny: Segmenter) -> None:
    """Objects whose flows disagree with the net's are said to be removed by flow_threshold."""
    reference, prediction = make_known_case()
    noise = np.random.default_rng(0).normal(0, 2, prediction.flows.shape).astype(np.float32)
    noisy = Prediction(prediction.flows + noise, prediction.cellprob)

    _, candidates = describe_cells(tiny, noisy, reference, Recipe(flow_threshold=0.01))

    assert {"flow"} == set(candidates.removed_by)
    assert (candidates.flow_error > 0.01).all()
    assert not candidates.kept.any()


def test_diagnosis_names_the_hole(tiny: Segmenter) -> None:
    """An object that passes both thresholds and is lost in a filled ring is said to be so."""
    reference = make_ring_and_disc()

    _, candidates = describe_cells(tiny, predict_exactly(reference), reference, Recipe())

    assert ["", "hole"] == candidates.removed_by.tolist()
    assert [True, False] == candidates.kept.tolist()
    assert [True, True] == candidates.matches.tolist()


@given(SEEDS, st.integers(0, 15), st.sampled_from([0.3, 0.5, 0.75]))
@settings(max_examples=25)
def test_diagnosis_adds_up_to_the_counts(
    tiny: Segmenter, seed: int, n_objects: int, iou_threshold: float
) -> None:
    """Found cells are the TP, kept candidates the predicted cells, best IoUs a pair table's."""
    rng = np.random.default_rng(seed)
    reference = draw_objects(rng, (60, 70), n_objects)
    prediction = draw_prediction(rng, reference)
    recipe = Recipe(cellprob_threshold=-1, min_size_px=30)

    cells, candidates = describe_cells(tiny, prediction, reference, recipe, iou_threshold)

    labels = compute_masks(prediction, -1, recipe.flow_threshold, 30)
    counts = count_matches(reference, labels, iou_threshold)
    assert (counts.tp, counts.n_reference) == (cells.found.sum(), len(cells))
    assert counts.n_predicted == candidates.kept.sum()
    assert (candidates.kept == (candidates.removed_by == "")).all()
    best = pair_table(reference, labels).groupby("reference_label").iou.max()
    expected = best.reindex(cells.label, fill_value=0.0)
    np.testing.assert_array_equal(expected, cells.best_iou)
