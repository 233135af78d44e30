"""What `predict`, `find_candidates` and `Candidates.select` promise: Cellpose's labels, faster."""

import numpy as np
import pytest
import torch
from cellpose import dynamics, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import TileError
from somaflow.segmenter import Candidates, Prediction, prepare_input
from somaflow.segmenter import candidates as candidates_module
from somaflow.segmenter.candidates import find_candidates
from somaflow.segmenter.flow_errors import measure_flow_errors
from somaflow.synthetic.nuclei import draw_nuclei
from tests.segmenter.objects import draw_objects, draw_prediction

CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(16, 90)
FLOW_THRESHOLDS = st.one_of(st.just(0.0), st.floats(0.001, 3))
MIN_SIZES = st.sampled_from([0, 1, 15, 60])


def compute_masks_as_eval(prediction, **thresholds):
    """The part of CellposeModel.eval that comes after the net."""
    return dynamics.resize_and_compute_masks(
        prediction.flows, prediction.cellprob, niter=200, device=CPU, **thresholds
    )


def check_as_eval(labels, flows, flow_threshold, min_size_px):
    """The part of CellposeModel.eval that comes after the first labels."""
    labels = labels.copy()
    if labels.max() > 0 and flow_threshold > 0:
        labels = dynamics.remove_bad_flow_masks(labels, flows, threshold=flow_threshold, device=CPU)
    return utils.fill_holes_and_remove_small_masks(labels, min_size=min_size_px)


@given(SEEDS, SIDES, SIDES, st.integers(0, 12), FLOW_THRESHOLDS, MIN_SIZES, st.floats(-4, 3))
@settings(max_examples=60)
def test_labels_of_any_prediction_equal_cellpose(
    seed, height, width, n_objects, flow_threshold, min_size_px, cellprob_threshold
):
    """Candidates and the choice among them give Cellpose's labels for any flows and thresholds."""
    rng = np.random.default_rng(seed)
    prediction = draw_prediction(rng, draw_objects(rng, (height, width), n_objects))

    labels = find_candidates(prediction, cellprob_threshold).select(flow_threshold, min_size_px)

    expected = compute_masks_as_eval(
        prediction,
        cellprob_threshold=cellprob_threshold,
        flow_threshold=flow_threshold,
        min_size=min_size_px,
    )
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(expected, labels)


@given(SEEDS, SIDES, SIDES, st.integers(0, 15), FLOW_THRESHOLDS, MIN_SIZES)
@settings(max_examples=150)
def test_choice_among_any_objects_equals_cellpose(
    seed, height, width, n_objects, flow_threshold, min_size_px
):
    """Nested, touching and scattered objects are kept, filled and numbered as by Cellpose."""
    rng = np.random.default_rng(seed)
    labels = draw_objects(rng, (height, width), n_objects)
    flows = draw_prediction(rng, draw_objects(rng, (height, width), n_objects)).flows

    selected = Candidates(labels, flows).select(flow_threshold, min_size_px)

    expected = check_as_eval(labels, flows, flow_threshold, min_size_px)
    np.testing.assert_array_equal(expected, selected)


@given(SEEDS, SIDES, SIDES, st.integers(1, 15))
@settings(max_examples=100)
def test_flow_errors_differ_from_cellpose_by_less_than_their_doubt(seed, height, width, n_objects):
    """Every flow error is Cellpose's up to rounding, and the bound on that holds."""
    rng = np.random.default_rng(seed)
    labels = draw_objects(rng, (height, width), n_objects)
    flows = draw_prediction(rng, labels).flows
    if labels.max() == 0:
        return

    errors, doubts = measure_flow_errors(labels, flows)

    expected, _ = dynamics.flow_error(labels, flows, CPU)
    assert (np.abs(expected - errors) <= doubts).all()


def test_doubt_covers_level_heat_alone():
    """The bound is wide where the heat is level, and as narrow as rounding everywhere else."""
    labels = np.zeros((40, 60), dtype=np.uint16)
    labels[5:20, 5:20] = 1  # symmetric: level in its middle
    y, x = np.mgrid[:40, :60]
    labels[(np.hypot(y - 20.3, (x - 40.2) / 1.3) < 9) & (x + y < 66)] = 2
    flows = np.zeros((2, 40, 60), dtype=np.float32)

    _, (level, sloping) = measure_flow_errors(labels, flows)

    assert level > 0.001
    assert sloping < 1e-8


@pytest.mark.parametrize("shift", [-1e-12, 0, 1e-12])
def test_error_at_the_threshold_is_decided_by_cellpose(shift, monkeypatch):
    """An object whose error rounding could move over the threshold is judged by Cellpose's own."""
    rng = np.random.default_rng(1)
    labels = draw_objects(rng, (60, 70), 8)
    flows = draw_prediction(rng, labels).flows
    candidates = Candidates(labels, flows)
    threshold = float(candidates.flow_errors[3]) + shift
    asked = []
    flow_error = dynamics.flow_error
    monkeypatch.setattr(
        dynamics, "flow_error", lambda *arguments: asked.append(1) or flow_error(*arguments)
    )

    kept = candidates.pass_flow(threshold)

    assert [1] == asked
    np.testing.assert_array_equal(~(flow_error(labels, flows, CPU)[0] > threshold), kept)


def test_clear_errors_are_decided_without_cellpose(monkeypatch):
    """Where no error is near the threshold, Cellpose's slow check is not run."""
    rng = np.random.default_rng(1)
    labels = draw_objects(rng, (60, 70), 8)
    candidates = Candidates(labels, draw_prediction(rng, labels).flows)
    errors = np.sort(candidates.flow_errors)
    gap = np.diff(errors).argmax()
    monkeypatch.delattr(dynamics, "flow_error")

    kept = candidates.pass_flow(float(errors[gap : gap + 2].mean()))

    assert gap + 1 == kept.sum()


def test_huge_images_are_checked_by_cellpose(monkeypatch):
    """Above the size where Cellpose changes to float32 its own flow errors decide."""
    rng = np.random.default_rng(2)
    labels = draw_objects(rng, (60, 70), 8)
    flows = draw_prediction(rng, labels).flows
    monkeypatch.setattr(candidates_module, "_FLOAT32_PX", 62 * 72 - 1)
    monkeypatch.setattr(dynamics, "flow_error", lambda *_: (np.arange(labels.max()), None))

    kept = Candidates(labels, flows).pass_flow(1.5)

    assert [True, True] + [False] * (int(labels.max()) - 2) == kept.tolist()


def test_object_that_fills_the_image_is_removed():
    """One object on more than 40 % of the image is dropped, as Cellpose does by default."""
    labels = np.zeros((60, 60), dtype=np.uint16)
    labels[5:52, 5:52] = 1
    prediction = draw_prediction(np.random.default_rng(8), labels)

    candidates = find_candidates(prediction, 0.0)

    expected = compute_masks_as_eval(prediction, cellprob_threshold=0, flow_threshold=0)
    np.testing.assert_array_equal(expected, candidates.select(0, 15))


def make_ring_around_disc():
    """A ring of label 1 around a disc of label 2, and a disc of label 3 beside them."""
    y, x = np.mgrid[:50, :90]
    distance = np.hypot(y - 25, x - 25)
    labels = np.zeros((50, 90), dtype=np.uint16)
    labels[(distance > 12) & (distance < 20)] = 1
    labels[distance < 7] = 2
    labels[np.hypot(y - 25, x - 70) < 9] = 3
    return labels


@pytest.mark.parametrize("min_size_px", [0, 15])
def test_nested_object_is_swallowed_as_by_cellpose(min_size_px):
    """A disc in the hole of a ring is lost with the ring and kept without it."""
    labels = make_ring_around_disc()
    candidates = Candidates(labels, np.zeros((2, 50, 90), dtype=np.float32))

    expected = check_as_eval(labels, candidates.flows, 0, min_size_px)
    np.testing.assert_array_equal(expected, candidates.select(0, min_size_px))
    assert candidates.has_nested
    assert [True, False, True] == candidates.survive(0, min_size_px).tolist()
    alone = Candidates(np.where(labels == 1, 0, labels) - (labels > 1), candidates.flows)
    assert not alone.has_nested
    assert [True, True] == alone.survive(0, min_size_px).tolist()


@given(SEEDS, SIDES, SIDES, st.integers(0, 15), FLOW_THRESHOLDS, MIN_SIZES)
@settings(max_examples=60)
def test_survivors_are_the_labels_that_are_left(
    seed, height, width, n_objects, flow_threshold, min_size_px
):
    """As many candidates survive as labels are selected; without nesting they keep their pixels."""
    rng = np.random.default_rng(seed)
    labels = draw_objects(rng, (height, width), n_objects)
    candidates = Candidates(labels, draw_prediction(rng, labels).flows)

    survivors = candidates.survive(flow_threshold, min_size_px)

    selected = candidates.select(flow_threshold, min_size_px)
    assert np.unique(selected[selected > 0]).size == survivors.sum()
    if not candidates.has_nested:
        kept = np.concatenate([[False], survivors])[candidates.filled]
        np.testing.assert_array_equal(kept, selected > 0)


def test_choosing_twice_gives_the_same():
    """A choice leaves the candidates as they were, so thresholds can be tried in any order."""
    rng = np.random.default_rng(6)
    labels = draw_objects(rng, (80, 80), 12)
    candidates = Candidates(labels, draw_prediction(rng, labels).flows)
    first = candidates.select(0.4, 15)

    candidates.select(0.0, 0)
    candidates.select(0.1, 60)

    np.testing.assert_array_equal(first, candidates.select(0.4, 15))


@pytest.mark.parametrize("shape", [(16, 40), (100, 131), (257, 300)])
def test_prediction_equals_what_eval_computes(tiny, shape):
    """Flows and cell probabilities are those that CellposeModel.eval returns, to the bit."""
    tile = draw_nuclei(np.random.default_rng(7), shape)[0]

    prediction = tiny.predict(tile)

    _, (_, flows, cellprob), _ = tiny.cellpose_model.eval(prepare_input(tile), channel_axis=0)
    np.testing.assert_array_equal(flows, prediction.flows)
    np.testing.assert_array_equal(cellprob, prediction.cellprob)
    assert {np.dtype("float32")} == {prediction.flows.dtype, prediction.cellprob.dtype}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["noise", "constant", "dense", "empty"])
@pytest.mark.parametrize("thresholds", [(0.4, 0.0, 15), (0.0, -6.0, 0), (1.0, -2.0, 40)])
def test_labels_of_any_tile_equal_eval(tiny, kind, dtype, thresholds):
    """From pixels to labels everything is as in CellposeModel.eval, on tiles without cells too."""
    flow_threshold, cellprob_threshold, min_size_px = thresholds
    tile = draw_kind(kind, dtype)

    prediction = tiny.predict(tile)
    candidates = tiny.find_candidates(prediction, cellprob_threshold)
    labels = candidates.select(flow_threshold, min_size_px)

    expected = tiny.cellpose_model.eval(
        prepare_input(tile),
        channel_axis=0,
        flow_threshold=flow_threshold,
        cellprob_threshold=cellprob_threshold,
        min_size=min_size_px,
    )[0]
    np.testing.assert_array_equal(expected, labels)
    assert kind != "dense" or labels.max() > 3


def draw_kind(kind, dtype, shape=(96, 110)):
    rng = np.random.default_rng(9)
    if kind == "dense":
        image = draw_nuclei(rng, shape)[0]
        return (image / image.max() * 250).astype(dtype)
    if kind == "noise":
        return rng.integers(0, 250, (2, *shape)).astype(dtype)
    return np.full((2, *shape), 7 if kind == "constant" else 0, dtype=dtype)


def test_prediction_without_dapi_is_that_of_a_blank_dapi(tiny):
    """The marker alone is predicted as a tile whose DAPI is zero."""
    tile = draw_kind("dense", "uint8")

    alone = tiny.predict(tile, channels="marker")

    blanked = tiny.predict(np.stack([np.zeros_like(tile[0]), tile[1]]))
    np.testing.assert_array_equal(blanked.flows, alone.flows)
    np.testing.assert_array_equal(blanked.cellprob, alone.cellprob)


def test_prediction_of_what_is_no_tile_is_refused(tiny):
    """An image with its channels last is not predicted."""
    with pytest.raises(TileError, match=r"\(64, 64, 2\)"):
        tiny.predict(np.zeros((64, 64, 2)))


def test_candidates_of_nothing_are_none():
    """Where no pixel is a cell there is nothing to choose from, and no error."""
    prediction = Prediction(np.zeros((2, 20, 30), np.float32), np.full((20, 30), -9, np.float32))

    candidates = find_candidates(prediction, 0.0)

    assert 0 == candidates.area_px.size == candidates.flow_errors.size
    assert not candidates.has_nested
    assert [] == candidates.survive(0.4, 15).tolist()
    np.testing.assert_array_equal(np.zeros((20, 30), np.uint32), candidates.select(0.4, 15))
