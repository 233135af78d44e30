import numpy as np
import pytest
from scipy import stats

from somaflow.donors.discoveries import find_discoveries


@pytest.mark.parametrize("seed", range(5))
def test_discoveries_equal_scipy_in_each_resample(seed: int) -> None:
    """Found is q < .05 by scipy, per resample, segmentation and family; NaN is no test."""
    rng = np.random.default_rng(seed)
    p = rng.random((30, 2, 7, 3)) ** rng.choice([1, 3, 8], size=(30, 2, 7, 1))
    p[rng.random(p.shape) < 0.1] = np.nan
    families = np.array([0, 0, 1, 1, 1, 0, 1])
    actual = find_discoveries(p, families)

    expected = np.zeros(p.shape, dtype=bool)
    for draw, segmentation, family in np.ndindex(30, 2, 2):
        some = p[draw, segmentation, families == family]
        known = np.isfinite(some)
        found = np.zeros(some.shape, dtype=bool)
        found[known] = stats.false_discovery_control(some[known]) < 0.05
        expected[draw, segmentation, families == family] = found
    assert expected.any()
    assert expected.tolist() == actual.tolist()
