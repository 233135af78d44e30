"""One loaded `tiny` for all tests of the boundary."""

import pytest

from somaflow.segmenter import limit_threads, load_segmenter


@pytest.fixture(scope="session")
def tiny():
    limit_threads(1)
    return load_segmenter("tiny", device="cpu")
