"""Runs of two images are those that a plain loop over pixels finds."""

import numpy as np
import pytest

from somaflow.features.runs import find_paired_runs

SHAPES = [(1, 1), (3, 7), (5, 8), (4, 9), (40, 33), (300, 5), (64, 129)]
# The last is noise, all runs one pixel long: more of them than there is room for at first.
N_IDS = [1, 3, 5000]


def loop_over_pixels(one, other):
    found = []
    for row in range(one.shape[0]):
        start = 0
        for stop in range(1, one.shape[1] + 1):
            here = int(one[row, start]), int(other[row, start])
            if stop < one.shape[1] and here == (int(one[row, stop]), int(other[row, stop])):
                continue
            if any(here):
                found.append((row * one.shape[1] + start, stop - start, *here))
            start = stop
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_ids", N_IDS)
@pytest.mark.parametrize("dtypes", [("u4", "i4"), ("u2", "i8"), (">i4", "u2"), ("i8", "i8")])
def test_runs_are_those_of_a_loop_over_pixels(shape, n_ids, dtypes):
    """Whatever the width, the dtypes and their byte orders, and however many runs there are."""
    rng = np.random.default_rng(n_ids)
    one, other = (rng.integers(0, n_ids + 1, shape).astype(dtype) for dtype in dtypes)

    runs = find_paired_runs(one, other)
    assert loop_over_pixels(one, other) == list(zip(*(part.tolist() for part in runs), strict=True))
    assert all(np.int64 == part.dtype for part in runs)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_image_without_pixels_has_no_runs(shape):
    """Nothing is read beside the image."""
    empty = np.zeros(shape, np.uint16)
    assert [0, 0, 0, 0] == [part.size for part in find_paired_runs(empty, empty)]


def test_strided_views_are_read_as_they_look():
    """Every second column of a larger image, from the right."""
    image = np.arange(60, dtype=np.uint16).reshape(6, 10) // 4
    view = image[:, ::-2]

    runs = find_paired_runs(view, view)
    assert loop_over_pixels(view, view) == list(zip(*(part.tolist() for part in runs), strict=True))
