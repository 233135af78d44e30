"""Objects found on a device are those of Cellpose's ``compute_masks``, bit for bit on the CPU."""

from unittest.mock import patch

import numpy as np
import torch
from cellpose import dynamics
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.segmenter import dynamics as ours
from somaflow.segmenter.dynamics import find_objects, number_objects
from tests.segmenter.objects import draw_objects, draw_prediction, predict_exactly

COUNT_STEPS = ours._count_steps
SIDES = st.integers(16, 90)


def find(prediction, threshold):
    flows, cellprob = map(torch.from_numpy, (prediction.flows, prediction.cellprob))
    return number_objects(find_objects(flows, cellprob, threshold).numpy())


def find_as_eval(prediction, threshold):
    return dynamics.compute_masks(
        prediction.flows, prediction.cellprob, cellprob_threshold=threshold, flow_threshold=0
    )


@settings(max_examples=80)
@given(
    st.integers(0, 2**32 - 1),
    SIDES,
    SIDES,
    st.integers(0, 12),
    st.floats(-4, 3),
    st.sampled_from(["cpu", "cuda"]),
)
def test_objects_equal_those_of_cellpose(seed, height, width, n_objects, threshold, device):
    """Touching, nested and broken objects, clear or noisy flows, at any threshold.

    Also where pixels that go in circles are left behind as rarely as on a GPU.
    """
    rng = np.random.default_rng(seed)
    prediction = draw_prediction(rng, draw_objects(rng, (height, width), n_objects))

    expected = find_as_eval(prediction, threshold)
    with patch.object(ours, "_count_steps", lambda n_left, _: COUNT_STEPS(n_left, device)):
        found = find(prediction, threshold)
    np.testing.assert_array_equal(expected, found)
    assert expected.dtype == found.dtype


def test_object_over_two_fifths_of_the_tile_is_left_out():
    """Cellpose takes such a large one for a mistake; the others keep their order."""
    labels = np.zeros((60, 60), np.uint16)
    labels[2:10, 2:10], labels[12:58, 4:56], labels[2:10, 40:50] = 1, 3, 2
    prediction = predict_exactly(labels)

    found = find(prediction, 0.0)
    np.testing.assert_array_equal(find_as_eval(prediction, 0.0), found)
    assert (2, 0) == (found.max(), found[30, 30])


def test_more_objects_than_16_bits_hold_keep_their_numbers():
    """From 65,536 on labels are uint32, and none is lost."""
    found = np.arange(300 * 300, dtype=np.int32).reshape(300, 300)

    labels = number_objects(found)
    assert (np.uint32, 300 * 300 - 1) == (labels.dtype, labels.max())
    np.testing.assert_array_equal(found, labels)
