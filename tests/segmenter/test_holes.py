"""Filling and cleaning is that of Cellpose, whatever lies in whose hole."""

import numpy as np
import pytest
from cellpose.utils import fill_holes_and_remove_small_masks
from hypothesis import given
from hypothesis import strategies as st

from somaflow.segmenter.holes import fill_and_clean
from tests.segmenter.objects import draw_objects


def number(labels):
    """The same objects as 1..N, 0 staying 0, as uint16."""
    values, places = np.unique(labels, return_inverse=True)
    return (places.reshape(labels.shape) + (values[0] != 0)).astype(np.uint16)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.integers(0, 6),
    st.sampled_from([0, 1, 4, 15]),
)
def test_any_labels_are_filled_as_cellpose_does(seed, shape, n_objects, min_size_px):
    """Torn and nested ones, tiles without background, and holes that reach the edge."""
    rng = np.random.default_rng(seed)
    labels = number(rng.integers(0, n_objects + 1, shape))

    expected = fill_holes_and_remove_small_masks(labels.copy(), min_size_px)
    np.testing.assert_array_equal(expected, fill_and_clean(labels, min_size_px))


@given(st.integers(0, 2**32 - 1), st.integers(16, 90), st.sampled_from([0, 15, 60]))
def test_discs_and_rings_are_filled_as_cellpose_does(seed, side, min_size_px):
    """What nets really find."""
    labels = draw_objects(np.random.default_rng(seed), (side, side + 7), 9)

    expected = fill_holes_and_remove_small_masks(labels.copy(), min_size_px)
    np.testing.assert_array_equal(expected, fill_and_clean(labels, min_size_px))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32])
def test_labels_keep_their_type_and_the_callers_array(dtype):
    """The array that was given is not changed, whatever its type."""
    labels = np.zeros((9, 9), dtype)
    labels[1:8, 1:8], labels[3:6, 3:6] = 1, 0
    before = labels.copy()

    filled = fill_and_clean(labels, 15)
    assert (dtype, 49) == (filled.dtype, int(filled.sum()))
    np.testing.assert_array_equal(before, labels)
