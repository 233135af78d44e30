"""The comparison of what is done around the net."""

from tests.bench.stages import bench_stages


def test_each_stage_finds_what_cellposes_own_does() -> None:
    """Scaling, crops, dynamics, flow check and holes of a tile are compared, and agree."""
    rows = bench_stages(shape=(270, 300))

    names = ["scale", "crops", "dynamics", "flow_check", "holes"]
    assert [f"stage_{name}" for name in names] == [row["name"] for row in rows]
    assert all(row["equal"] for row in rows)
    assert all("270 x 300 px" in str(row["theirs"]) for row in rows)
