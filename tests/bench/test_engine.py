"""The comparison of whole tiles runs to its end, and every way of using Cellpose finds the same."""

import pytest

from tests.bench.engine import bench_engine_out_of_domain


@pytest.mark.long
def test_four_ways_of_using_cellpose_are_compared() -> None:
    """A row each for loop, array, Dask and command line, with labels equal bit for bit."""
    rows = bench_engine_out_of_domain(shape=(270, 300), n_tiles=2)

    assert ["loop", "stack", "dask", "cli"] == [row["name"].rsplit("_")[-1] for row in rows]
    assert all(row["equal"] for row in rows)
    assert all(row["ratio"] > 0 for row in rows)
