import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from somaflow.donors.fdr import adjust_p
from somaflow.errors import BadInputError


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjust_p_equals_statsmodels(p: list[float]) -> None:
    """One family is Benjamini-Hochberg as another library has it."""
    expected = multipletests(p, method="fdr_bh")[1]

    np.testing.assert_allclose(adjust_p(np.array(p)), expected, rtol=1e-12)


def test_adjust_p_takes_each_family_alone() -> None:
    """Tests of one family do not weigh on another's."""
    p = np.array([0.01, 0.02, 0.03, 0.04])

    q = adjust_p(p, ["a", "b", "a", "b"])
    np.testing.assert_allclose(q, [0.02, 0.04, 0.03, 0.04])


def test_adjust_p_does_not_count_undefined_tests() -> None:
    """NaN stay NaN, and the others are adjusted for fewer tests."""
    q = adjust_p(np.array([np.nan, 0.01, np.nan, 0.5]))

    np.testing.assert_allclose(q, [np.nan, 0.02, np.nan, 0.5])


def test_adjust_p_of_no_tests_is_empty() -> None:
    """Nothing in, nothing out; a family of NaN alone stays NaN."""
    assert 0 == adjust_p(np.array([])).size
    assert np.isnan(adjust_p(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    ("p", "families", "message"),
    [
        ([0.5, 1.2], None, "found 1.2"),
        ([-0.1], None, "found -0.1"),
        ([0.1, 0.2], ["a"], "got 1 for 2 tests"),
    ],
)
def test_adjust_p_refuses_what_is_no_p(
    p: list[float], families: list[str] | None, message: str
) -> None:
    """A rho passed for a p, or families that do not fit, is said."""
    with pytest.raises(BadInputError, match=message):
        adjust_p(np.array(p), families)
