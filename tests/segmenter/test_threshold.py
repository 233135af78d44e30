"""The segmenter without a net: known squares, known thresholds."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from somaflow.errors import TileError
from somaflow.recipes import Gate, Recipe
from somaflow.segmenter import THRESHOLD, ThresholdSegmenter, weights_sha256
from somaflow.segmenter.threshold import otsu_threshold
from tests.inference.study_files import draw_squares


def tile(n_cells: int = 5) -> np.ndarray:
    marker = draw_squares(1, 64, 80, n_cells)
    return np.stack([np.zeros_like(marker), marker])


def test_squares_are_found_and_numbered_without_gaps() -> None:
    """Five squares of 36 px are five cells of 36 px."""
    (labels,) = ThresholdSegmenter().segment([tile()], Recipe(model=THRESHOLD))
    assert [1, 2, 3, 4, 5] == np.unique(labels[labels > 0]).tolist()
    assert [36] * 5 == np.bincount(labels.ravel())[1:].tolist()
    assert np.uint32 == labels.dtype


def test_small_ones_are_left_out_by_the_recipe() -> None:
    """min_size_px and the gate hold as for a net."""
    (labels,) = ThresholdSegmenter().segment([tile()], Recipe(model=THRESHOLD, min_size_px=37))
    assert 0 == labels.max()
    gate = Gate(max_area_px=35)
    (labels,) = ThresholdSegmenter().segment([tile()], Recipe(model=THRESHOLD, gate=gate))
    assert 0 == labels.max()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_threshold_separates_pixels_as_skimage_does(dtype: type) -> None:
    """Otsu's threshold divides the pixels as skimage's does, up to one bin."""
    rng = np.random.default_rng(0)
    image = np.concatenate([rng.normal(50, 10, 4000), rng.normal(180, 15, 1000)]).astype(dtype)
    found, expected = otsu_threshold(image), threshold_otsu(image)
    width = float(image.max() - image.min()) / 256
    assert abs(found - expected) <= 1.5 * width


def test_even_tile_has_no_cell() -> None:
    """A tile of one value holds nothing."""
    even = np.full((2, 32, 32), 7, np.uint8)
    assert 0 == ThresholdSegmenter().segment([even], Recipe(model=THRESHOLD))[0].max()


def test_bad_tile_is_refused_as_by_a_net() -> None:
    """Tiles must be (2, Y, X)."""
    with pytest.raises(TileError):
        ThresholdSegmenter().segment([np.zeros((32, 32), np.uint8)], Recipe(model=THRESHOLD))


def test_it_is_known_by_a_checksum() -> None:
    """Keys of results made by it differ from those of any weights."""
    assert weights_sha256(THRESHOLD) == ThresholdSegmenter().sha256
    assert weights_sha256(THRESHOLD) != weights_sha256("tiny")
