"""A channel scaled from its counts is Cellpose's own, bit for bit."""

import numpy as np
import pytest
from cellpose import transforms
from hypothesis import given
from hypothesis import strategies as st

from somaflow.segmenter.percentiles import can_count, scale_by_count


def scale_as_eval(plane):
    """The channel as ``CellposeModel.eval`` scales it."""
    image = np.stack([plane, plane], axis=-1)
    return transforms.normalize_img(image.copy(), percentile=None)[..., 0]


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(16, 120), st.integers(16, 120)),
    st.sampled_from([np.uint8, np.uint16]),
    st.floats(0.0001, 1),
)
def test_scaled_channel_equals_cellpose_bit_for_bit(seed, shape, dtype, spread):
    """Whatever the values and their number, dense or sparse, 8 or 16 bit."""
    rng = np.random.default_rng(seed)
    highest = max(int(np.iinfo(dtype).max * spread), 1)
    plane = rng.integers(0, highest, shape, dtype=dtype, endpoint=True)
    plane[rng.random(shape) < rng.choice([0, 0.5, 0.995])] = 0

    np.testing.assert_array_equal(scale_as_eval(plane), scale_by_count(plane))


@pytest.mark.parametrize("value", [0, 1, 255])
def test_channel_without_contrast_becomes_zero(value):
    """Nothing to scale by: 0 everywhere, as Cellpose has it, and no division by 0."""
    plane = np.full((20, 30), value, np.uint8)

    np.testing.assert_array_equal(scale_as_eval(plane), scale_by_count(plane))
    assert not scale_by_count(plane).any()


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        (np.uint8, (64, 64), True),
        (np.uint16, (1040, 1388), True),
        (np.float32, (64, 64), False),
        (np.int32, (64, 64), False),
        # Cellpose takes every n-th pixel of larger ones.
        (np.uint8, (4096, 4096), False),
    ],
)
def test_only_what_cellpose_sorts_whole_is_counted(dtype, shape, expected):
    """Floats have too many values, and of large images Cellpose looks at a part."""
    assert expected is can_count(np.empty(shape, dtype))
