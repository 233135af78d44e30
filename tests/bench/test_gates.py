"""The comparison of gate grids."""

from tests.bench.gates import bench_gate_grid


def test_bench_of_gates_returns_a_row_of_equal_results() -> None:
    """On a small tile both ways give the same counts under each of 100 gates."""
    row = bench_gate_grid(n_cells=12, size_px=128)

    assert set(row) == {"name", "ours_s", "theirs_s", "ratio", "equal", "theirs"}
    assert row["equal"] is True
    assert "each of 100 gates" in str(row["theirs"])
