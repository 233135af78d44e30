"""How far an inference is, how fast and how long it will take, from its files alone."""

import os
import time
from pathlib import Path

import pandas as pd

from somaflow.clocks import describe_duration
from somaflow.ledger import ShardRecord, TileRecord, plan_shards, write_plan, write_record
from somaflow.paths import RunPaths
from somaflow.status import describe_status, inference_status
from somaflow.study import load_study
from tests import begun

KEY = "0123456789abcdef0123"


def write_study(paths: RunPaths, ages_s: list[float], n_shards: int = 4) -> None:
    """An inference of shards of 10 tiles, of which some were committed so many seconds ago."""
    tiles = pd.DataFrame(
        {
            "tile_id": [f"tile-{number:03}" for number in range(10 * n_shards)],
            "height_px": 32,
            "width_px": 32,
        }
    )
    write_plan(paths, KEY, plan_shards(tiles, 10), {})
    now = time.time()  # once: on a busy machine a second goes by between two records
    for shard, age_s in enumerate(ages_s):
        done = tuple(TileRecord(f"tile-{10 * shard + n:03}", 3) for n in range(10))
        write_record(paths, ShardRecord(KEY, shard, "32x32", shard, "cpu", "", "", done))
        os.utime(paths.record(KEY, shard), (now - age_s, now - age_s))


def test_rate_and_time_left_come_from_the_commits(tmp_path: Path) -> None:
    """Ten tiles each 5 s: two a second, and 10 tiles left take 5 s."""
    write_study(RunPaths(tmp_path), [12, 7, 2])
    status = inference_status(RunPaths(tmp_path), KEY)
    assert "2 tiles/s, 5 s left, last shard 2 s ago" == status.pace()


def test_inference_that_has_stopped_tells_no_time_left(tmp_path: Path) -> None:
    """After ten minutes without a shard there is only how long ago the last one was."""
    write_study(RunPaths(tmp_path), [7210, 7205, 7200])
    assert "last shard 2 h 00 min ago" == inference_status(RunPaths(tmp_path), KEY).pace()


def test_pause_of_an_earlier_run_does_not_slow_the_rate(tmp_path: Path) -> None:
    """The rate is that of the last ten minutes of work."""
    write_study(RunPaths(tmp_path), [90_000, 12, 2])
    assert inference_status(RunPaths(tmp_path), KEY).pace().startswith("1 tiles/s, 10 s left")


def test_nothing_is_said_before_and_after(tmp_path: Path) -> None:
    """Neither an inference without a shard nor a finished one has a pace."""
    write_study(RunPaths(tmp_path), [])
    assert "" == inference_status(RunPaths(tmp_path), KEY).pace()
    write_study(RunPaths(tmp_path), [4, 3, 2, 1])
    assert "" == inference_status(RunPaths(tmp_path), KEY).pace()


def test_newest_report_is_named_last(tmp_path: Path) -> None:
    """Where a reader begins stands where a terminal ends; before there is one, nothing is said."""
    study = load_study(begun.write_study(tmp_path / "mine"))
    assert "report " not in describe_status(study)
    for stamp in ("20261125T100000Z", "20261126T090000Z"):
        page = study.paths.report(stamp) / "report.html"
        page.parent.mkdir(parents=True)
        page.touch()
    assert f"report           {page}" == describe_status(study).splitlines()[-1]


def test_durations_are_words() -> None:
    """Two units are enough."""
    expected = ["7 s", "1 min 05 s", "2 h 05 min", "3 d 04 h"]
    assert expected == [describe_duration(s) for s in (7.2, 65, 7530, 3 * 86400 + 4 * 3600 + 60)]
