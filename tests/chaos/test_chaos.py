"""Runs on a real SLURM, disturbed at random: nothing is lost, done twice or torn."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.audit import Audit, audit_study, stamp_of
from tests.chaos.events import EVENTS
from tests.conftest import REPOSITORY
from tests.slurm import require_slurm


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
def test_disturbed_runs_end_like_undisturbed_ones(tmp_path: Path) -> None:
    """Two rounds of three random events: the same bytes, and every end has its reason."""
    require_slurm()
    report = tmp_path / "chaos.json"
    command = [sys.executable, "-m", "tests.chaos", "--rounds", "2", "--report", str(report)]
    seed = os.environ.get("SOMAFLOW_TEST_SEED", "7")
    done = subprocess.run(
        [*command, "--seed", seed], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "tiles lost: 0, twice: 0, torn: 0" == done.stdout.splitlines()[-1]
    rounds = json.loads(report.read_text())
    assert [3, 3] == [len(one["events"]) for one in rounds]


def test_events_are_those_that_users_meet() -> None:
    """Each event has a name of its own, for --only."""
    assert len(EVENTS) == len({event.__name__ for event in EVENTS})


def test_audit_counts_what_is_wrong(tmp_path: Path) -> None:
    """A missing record, a repeated one and a torn file are counted, tile by tile."""
    mine, reference, key = make_two_studies(tmp_path)
    assert Audit(0, 0, 0) == audit_study(mine, reference, key)
    labels = next(path for path in (mine / "labels").rglob("c/*/0/0"))
    labels.write_bytes(labels.read_bytes()[:-1])
    assert Audit(0, 0, 2) == audit_study(mine, reference, key)
    records = sorted((mine / "ledger" / key).glob("shard-*.json"))
    records[0].write_bytes(records[1].read_bytes())
    assert Audit(2, 2, 2) == audit_study(mine, reference, key)


def test_audit_counts_what_was_written_again(tmp_path: Path) -> None:
    """A shard committed in the middle whose record is another file at the end was done twice."""
    mine, reference, key = make_two_studies(tmp_path)
    record = next((mine / "ledger" / key).glob("shard-*.json"))
    committed = {record: stamp_of(record)}
    assert Audit(0, 0, 0) == audit_study(mine, reference, key, committed)
    copy = record.with_suffix(".new")
    copy.write_bytes(record.read_bytes())
    copy.replace(record)
    assert Audit(0, 2, 0) == audit_study(mine, reference, key, committed)


def make_two_studies(folder: Path) -> tuple[Path, Path, str]:
    """The same four tiles segmented twice, in shards of two."""
    from somaflow.engine import SerialEngine
    from somaflow.inference import infer_shard, plan_inference
    from somaflow.paths import RunPaths
    from somaflow.recipes import Recipe
    from somaflow.segmenter import ThresholdSegmenter, weights_sha256
    from somaflow.tiles import discover_tiles
    from tests.inference.study_files import write_tiles

    tiles = discover_tiles(write_tiles(folder, 4, shapes=((64, 80),)), layout="manifest")
    files = {path: "x" for path in [*tiles.dapi_path, *tiles.marker_path]}
    recipe = Recipe(model="threshold")
    for name in ("mine", "reference"):
        paths = RunPaths(folder / name)
        key = plan_inference(paths, tiles, recipe, weights_sha256, files, 2).key
        for shard in range(2):
            infer_shard(paths, key, shard, recipe, SerialEngine(lambda _: ThresholdSegmenter()), 2)
    return folder / "mine", folder / "reference", key
