"""The comparisons of segmenting a tile and of sweeping thresholds."""

from collections.abc import Callable

import pytest

from tests.bench.shards import bench_encode_shard
from tests.bench.sweep import bench_segment_tile, bench_threshold_sweep
from tests.bench.workers import bench_worker_memory


@pytest.mark.parametrize(
    "bench",
    [
        bench_segment_tile,
        bench_threshold_sweep,
        pytest.param(bench_worker_memory, marks=pytest.mark.long),
        bench_encode_shard,
    ],
)
def test_bench_of_segmenting_returns_a_row_of_equal_results(
    bench: Callable[..., dict[str, object]],
) -> None:
    """On a small tile both ways agree, and the row says what was compared."""
    row = bench(shape=(96, 110))

    assert set(row) == {"name", "ours_s", "theirs_s", "ratio", "equal", "theirs"}
    assert row["equal"] is True
    assert "96 x 110 px" in str(row["theirs"])
