"""Tiles that kill the worker that takes them: set aside, each with its reason, the others kept."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from somaflow.ledger import read_records
from somaflow.study import load_study
from tests.flows.conftest import Run

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]
SIDE_PX = 4500
WORKER_GB = 0.85


def write_dense_study(folder: Path, dense: tuple[int, ...], n_tiles: int = 2) -> Path:
    """A study of large tiles in one shard; the dense ones hold more cells than memory does."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(n_tiles):
        plane = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        if number in dense:
            plane[rng.random(plane.shape) < 0.1] = 200
        else:
            plane[100:120, 100 : 120 + number] = 200
        path = folder / f"tile-{number}.tif"
        tifffile.imwrite(path, plane, compression="zlib")
        rows.append({"tile_id": f"tile-{number}", "marker": "GFAP", "marker_path": path.name})
    pd.DataFrame(rows).to_csv(folder / "tiles.csv", index=False)
    study = {
        "name": "dense",
        "tiles": {"root": "tiles.csv", "layout": "manifest"},
        "output": "output",
        "recipes": [{"name": "stand-in", "model": "threshold", "min_size_px": 0}],
        "inference_recipe": "stand-in",
        "shard_tiles": n_tiles,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    site = {"kind": "local", "workers": 1, "memory_gb": WORKER_GB}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    return path


def test_tile_that_kills_its_workers_is_set_aside(tmp_path: Path, somaflow: Run) -> None:
    """Out of memory on one tile, again and again: that tile is quarantined, its shard commits.

    With more memory it is segmented on request, like any tile that was set aside.
    """
    study = write_dense_study(tmp_path, dense=(1,))
    assert somaflow("run", "e0-prepare", study).returncode == 0
    small = ("run", "e5-inference", study, "--site", tmp_path / "site.yaml")
    done = somaflow(*small)
    assert done.returncode == 0, done.stderr[-3000:]
    paths = load_study(study).paths
    (key,) = paths.inference_keys()
    (record,) = read_records(paths, key)
    assert {"tile-1"} == {tile.tile_id for tile in record.quarantined}
    assert "its worker died on it" in record.quarantined[0].quarantined
    assert [1, 0] == [tile.n_cells for tile in record.tiles]
    assert "tile-1: its worker died on it" in done.stdout

    again = somaflow("run", "e5-inference", study, "--retry-quarantined")
    assert again.returncode == 0, again.stderr[-3000:]
    (record,) = read_records(paths, key)
    assert () == record.quarantined
    assert record.tiles[1].n_cells > 100_000


def test_workers_that_die_on_every_tile_are_not_the_tiles_fault(
    tmp_path: Path, somaflow: Run
) -> None:
    """Where no tile can be survived nothing is quarantined: the run says that memory is short."""
    study = write_dense_study(tmp_path, dense=(0, 1, 2), n_tiles=3)
    assert somaflow("run", "e0-prepare", study).returncode == 0
    done = somaflow("run", "e5-inference", study, "--site", tmp_path / "site.yaml")
    assert done.returncode == 1
    assert "give workers more memory (memory_gb of the site)" in done.stderr
    paths = load_study(study).paths
    assert [] == read_records(paths, paths.inference_keys()[0])
