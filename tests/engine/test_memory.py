"""A tile that there is no memory for is refused in words, not by the kernel."""

from pathlib import Path

import pytest

from somaflow.engine import SerialEngine, memory
from somaflow.engine.jobs import Job
from somaflow.engine.memory import check_memory, free_bytes
from somaflow.errors import TileError
from somaflow.recipes import Recipe
from somaflow.segmenter import ThresholdSegmenter

MEMINFO = "MemTotal:       32000000 kB\nMemFree:         1000 kB\nMemAvailable:    8000000 kB\n"


def write_system(folder: Path, limit: str) -> tuple[Path, Path]:
    """/proc and the control groups of a process in a job that has a limit."""
    proc, groups = folder / "proc", folder / "cgroup"
    own = groups / "slurm" / "job_7"
    for place in (proc / "self", own):
        place.mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text("0::/slurm/job_7\n")
    (own / "memory.max").write_text("max\n")
    (own / "memory.current").write_text("1000000\n")
    (own.parent / "memory.max").write_text(f"{limit}\n")
    (own.parent / "memory.current").write_text("3000000000\n")
    return proc, groups


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("4000000000", 1_000_000_000), ("max", 8_192_000_000), ("2000000000", 0)],
)
def test_least_of_machine_and_job_counts(tmp_path: Path, limit: str, expected: int) -> None:
    """A job's limit counts, also that of a group around it; more than it cannot be negative."""
    assert expected == free_bytes(*write_system(tmp_path, limit))


def test_where_nothing_can_be_told_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside Linux there is neither file."""
    assert free_bytes(tmp_path, tmp_path) is None
    monkeypatch.setattr(memory, "free_bytes", lambda: None)
    check_memory(10**6, 10**6, "t")


def test_tile_too_large_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the tile, what it takes, what is free, and two ways out."""
    monkeypatch.setattr(memory, "free_bytes", lambda: 2_000_000_000)
    check_memory(1040, 1388, "fits")
    with pytest.raises(TileError, match=r"Snap-9 of 9000 x 9000 px takes about 15 GB, 2 GB are"):
        check_memory(9000, 9000, "Snap-9")


def test_tile_too_large_is_set_aside_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its shard go on; its row says why."""
    monkeypatch.setattr(memory, "free_bytes", lambda: 1_000_000)
    row = {"tile_id": "big", "height_px": 500, "width_px": 500, "dapi_path": "/no/such.tif"}
    engine = SerialEngine(lambda _: ThresholdSegmenter())

    (done,) = engine.run([Job(row, Recipe())])
    assert "a tile must fit in memory, big of 500 x 500 px" in done.record.quarantined
