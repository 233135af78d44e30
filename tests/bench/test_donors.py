"""The comparisons of the donor statistics."""

from collections.abc import Callable

import pytest

from tests.bench.donors import (
    bench_associate,
    bench_associate_partial,
    bench_spearman_bootstrap,
)


def test_bench_of_resampling_returns_a_row_of_equal_results() -> None:
    """On few resamples ours and scipy's loop agree, and the row says what was compared."""
    row = bench_spearman_bootstrap(n_donors=12, n_features=2, n_traits=2, n_resamples=3)
    assert set(row) == {"name", "ours_s", "theirs_s", "ratio", "equal", "theirs"}
    assert row["equal"] is True
    assert "3 resamples of 12 donors" in str(row["theirs"])


@pytest.mark.parametrize("bench", [bench_associate, bench_associate_partial])
def test_bench_of_a_study_says_that_scipy_is_extrapolated(
    bench: Callable[..., dict[str, object]],
) -> None:
    """Scipy's hours are not waited for; the row says from how many calls they are told."""
    row = bench(n_donors=12, n_columns=3, n_resamples=5, n_calls=2)
    assert row["equal"] is True
    assert "told from 2 calls" in str(row["theirs"])
