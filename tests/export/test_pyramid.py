"""Coarser levels of image and labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.export.pyramid import list_factors, shrink_image, shrink_labels


@pytest.mark.parametrize(
    ("height_px", "width_px", "expected"),
    [(64, 80, [1]), (255, 900, [1]), (256, 300, [1, 2]), (520, 694, [1, 2, 4])],
)
def test_small_tiles_have_fewer_levels(height_px: int, width_px: int, expected: list[int]) -> None:
    """No level is smaller than 128 px, and there are never more than three."""
    assert expected == list_factors(height_px, width_px)


def test_coarse_image_is_the_mean_of_blocks() -> None:
    """A pixel is the rounded mean of its block; a row that fills no block is left out."""
    image = np.array([[[0, 3, 10, 10], [4, 4, 10, 10], [9, 9, 9, 9]]], np.uint8)
    assert [[[3, 10]]] == shrink_image(image, 2).tolist()
    assert np.uint8 == shrink_image(image, 2).dtype
    assert [[[2.75, 10.0]]] == shrink_image(image.astype(np.float32), 2).tolist()


@given(
    height_px=st.integers(4, 40),
    width_px=st.integers(4, 40),
    factor=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 9),
)
def test_coarse_labels_are_pixels_of_their_own_block(
    height_px: int, width_px: int, factor: int, seed: int
) -> None:
    """Each pixel has an id that its block holds, so none is invented, and fits the image's."""
    labels = np.random.default_rng(seed).integers(0, 2**32, (height_px, width_px), np.uint32)
    coarse = shrink_labels(labels, factor)
    assert np.uint32 == coarse.dtype
    assert shrink_image(labels[None].astype(np.uint8), factor).shape[1:] == coarse.shape
    for y, x in np.ndindex(coarse.shape):
        block = labels[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        assert coarse[y, x] in block
