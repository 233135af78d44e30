"""E5 commits shard by shard, loses nothing and never does work twice."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from somaflow.engine import SerialEngine
from somaflow.errors import InferenceError, OutputError, StoreError
from somaflow.inference import infer_shard, plan_inference
from somaflow.keys import fingerprint_files
from somaflow.labelstore import open_labels
from somaflow.ledger import read_plan, read_records, unfinished_shards
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.tiles import discover_tiles, read_tile
from tests.conftest import REPOSITORY
from tests.inference.study_files import (
    BrokenSegmenter,
    ThresholdSegmenter,
    tree_digest,
    write_tiles,
)
from tests.inference.worker import SHARD_TILES, main
from tests.mounts import with_mount

RESULTS = ("labels", "cells", "ledger")
N_TILES = 14


def results(output: Path) -> dict[str, bytes]:
    """All files of labels, cells and ledger."""
    return {
        f"{part}/{name}": content
        for part in RESULTS
        for name, content in tree_digest(output / part).items()
    }


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_tiles(tmp_path / "tiles", N_TILES)


def test_inference_commits_every_tile_once(tmp_path: Path, manifest: Path) -> None:
    """Each tile of the table is in exactly one shard, with as many cells as were drawn."""
    key = main(tmp_path / "out", manifest)
    records = read_records(RunPaths(tmp_path / "out"), key)
    counts = {tile.tile_id: tile.n_cells for record in records for tile in record.tiles}
    expected = {f"t{n:03d}": 0 if n % 5 == 4 else 3 + n % 7 for n in range(N_TILES)}
    assert expected == counts
    assert sum(len(record.tiles) for record in records) == N_TILES


def test_labels_read_back_bit_for_bit(tmp_path: Path, manifest: Path) -> None:
    """`read(tile_id)` gives the very labels that the segmenter returned, for every tile shape."""
    key = main(tmp_path / "out", manifest)
    store = open_labels(tmp_path / "out" / "labels" / key)
    tiles = discover_tiles(manifest, layout="manifest")
    assert sorted(tiles.tile_id) == sorted(store.tile_ids)
    for row in tiles.itertuples():
        expected = ThresholdSegmenter().segment([read_tile(row)], Recipe())[0]
        actual = store.read(row.tile_id)
        assert actual.dtype == np.uint32
        assert np.array_equal(expected, actual)


def test_cells_are_one_row_a_cell_with_their_tile(tmp_path: Path, manifest: Path) -> None:
    """The cell files read as one table whose areas are those of the 6 x 6 squares drawn."""
    key = main(tmp_path / "out", manifest)
    cells = pd.read_parquet(tmp_path / "out" / "cells" / key)
    expected = sum(0 if n % 5 == 4 else 3 + n % 7 for n in range(N_TILES))
    assert expected == len(cells)
    assert {36} == set(cells.area_px)
    assert {"t000", "t001"} <= set(cells.tile_id)
    assert {"d0", "d1", "d2"} == set(cells.donor)
    assert (cells.marker_mean == 200).all()


def test_finished_inference_is_not_touched_again(tmp_path: Path, manifest: Path) -> None:
    """A second run segments no tile and rewrites no file."""
    for path in manifest.parent.iterdir():
        os.utime(path, (1e9, 1e9))  # files made just now are hashed again, and remembered later
    main(tmp_path / "out", manifest, tmp_path / "first.log")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    main(tmp_path / "out", manifest, tmp_path / "second.log")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert len((tmp_path / "first.log").read_text().splitlines()) == N_TILES
    assert not (tmp_path / "second.log").exists()
    assert before == after


@pytest.mark.parametrize("part", ["labels", "cells", "ledger"])
def test_damaged_shard_is_found_and_mended(tmp_path: Path, manifest: Path, part: str) -> None:
    """A truncated label shard, cell file or record is noticed, and only its shard is done again."""
    key = main(tmp_path / "out", manifest)
    whole = results(tmp_path / "out")
    paths = RunPaths(tmp_path / "out")
    damaged = {
        "labels": paths.label_shard(key, "48x96", 1),
        "cells": paths.cells(key, 1),
        "ledger": paths.record(key, 1),
    }[part]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert unfinished_shards(paths, key, read_plan(paths, key)) == [1]
    main(tmp_path / "out", manifest)
    assert whole == results(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.long
def test_killed_inference_resumes_to_the_same_bytes(tmp_path: Path, manifest: Path) -> None:
    """After kill -9 at random moments the bytes are those of an undisturbed run.

    A shard that was finished before a kill is never written again.
    """
    main(tmp_path / "undisturbed", manifest)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "tests.inference.worker", str(output), str(manifest)]
    rng = random.Random(7)
    started = time.monotonic()
    subprocess.run(
        [*command[:3], str(tmp_path / "timing"), str(manifest)], cwd=REPOSITORY, check=True
    )
    whole_run_s = time.monotonic() - started
    finished: dict[Path, int] = {}
    n_killed = 0
    for _ in range(12):
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()  # planned: from here on anything may be half done
        time.sleep(rng.uniform(0, whole_run_s / 40))
        process.kill()
        n_killed += process.wait() == -9
        for path, mtime_ns in finished.items():
            assert mtime_ns == path.stat().st_mtime_ns, f"{path} was finished and written again"
        finished = {
            path: path.stat().st_mtime_ns for path in (output / "ledger").rglob("shard-*.json")
        }
    assert n_killed > 0
    subprocess.run(command, cwd=REPOSITORY, check=True)
    assert results(tmp_path / "undisturbed") == results(output)


def test_unreadable_tile_is_quarantined_and_its_shard_commits(
    tmp_path: Path, manifest: Path
) -> None:
    """A file that turns unreadable after discovery costs its own tile alone, with the reason."""
    paths = RunPaths(tmp_path / "out")
    tiles = discover_tiles(manifest, layout="manifest")
    hashes = fingerprint_files(
        tiles[["dapi_path", "marker_path"]].to_numpy().ravel(), paths.fingerprints
    )
    inference = plan_inference(paths, tiles, Recipe(), lambda _: "0" * 64, hashes, SHARD_TILES)
    victim = Path(tiles.marker_path[0])
    content = victim.read_bytes()
    victim.write_bytes(content[:200])

    def run(retry: bool = False) -> None:
        plan = read_plan(paths, inference.key)
        for shard in unfinished_shards(paths, inference.key, plan, retry_quarantined=retry):
            infer_shard(
                paths,
                inference.key,
                shard,
                Recipe(),
                SerialEngine(lambda _: ThresholdSegmenter()),
                SHARD_TILES,
                retry_quarantined=retry,
            )

    run()
    records = read_records(paths, inference.key)
    quarantined = [tile for record in records for tile in record.quarantined]
    assert [tile.tile_id for tile in quarantined] == ["t000"]
    assert victim.name in quarantined[0].quarantined
    store = open_labels(paths.labels(inference.key))
    with pytest.raises(StoreError, match="t000 has no labels, it was quarantined"):
        store.read("t000")

    victim.write_bytes(content)
    run()
    assert [
        tile for record in read_records(paths, inference.key) for tile in record.quarantined
    ] != []
    run(retry=True)
    assert [
        tile for record in read_records(paths, inference.key) for tile in record.quarantined
    ] == []
    assert open_labels(paths.labels(inference.key)).read("t000").max() == 3


def test_broken_model_fails_the_shard_and_commits_nothing(tmp_path: Path, manifest: Path) -> None:
    """A model that fails on every tile is an error, not a study of quarantined tiles."""
    paths = RunPaths(tmp_path / "out")
    tiles = discover_tiles(manifest, layout="manifest")
    hashes = fingerprint_files(
        tiles[["dapi_path", "marker_path"]].to_numpy().ravel(), paths.fingerprints
    )
    inference = plan_inference(paths, tiles, Recipe(), lambda _: "0" * 64, hashes, SHARD_TILES)
    with pytest.raises(InferenceError, match="no kernel image is available; check the model"):
        infer_shard(
            paths,
            inference.key,
            0,
            Recipe(),
            SerialEngine(lambda _: BrokenSegmenter()),
            SHARD_TILES,
        )
    assert read_records(paths, inference.key) == []


def test_changed_input_or_recipe_gets_its_own_folder(tmp_path: Path, manifest: Path) -> None:
    """Other pixels, thresholds or weights never overwrite a former inference."""
    tiles = discover_tiles(manifest, layout="manifest")
    files = tiles[["dapi_path", "marker_path"]].to_numpy().ravel()
    paths = RunPaths(tmp_path / "out")
    hashes = fingerprint_files(files, paths.fingerprints)
    other = {**hashes, str(tiles.marker_path[3]): "f" * 64}
    keys = {
        plan_inference(paths, tiles, recipe, weights, fingerprints, SHARD_TILES).key
        for recipe, weights, fingerprints in [
            (Recipe(), lambda _: "0" * 64, hashes),
            (Recipe(cellprob_threshold=1), lambda _: "0" * 64, hashes),
            (Recipe(), lambda _: "1" * 64, hashes),
            (Recipe(), lambda _: "0" * 64, other),
        ]
    }
    renamed = plan_inference(
        paths, tiles, Recipe(name="x"), lambda _: "0" * 64, hashes, SHARD_TILES
    )
    assert len(keys) == 4
    assert renamed.key in keys


def test_each_marker_is_segmented_with_its_own_set(tmp_path: Path, manifest: Path) -> None:
    """A recipe with a set per marker loads those sets, by marker, and no other."""
    paths = RunPaths(tmp_path / "out")
    tiles = discover_tiles(manifest, layout="manifest")
    files = tiles[["dapi_path", "marker_path"]].to_numpy().ravel()
    hashes = fingerprint_files(files, paths.fingerprints)
    own = str(tiles.marker[0])
    recipe = Recipe(name="hybrid", per_marker={own: Recipe(name="own", model="own.pt")})
    checksums = {"tiny": "0" * 64, "own.pt": "1" * 64}
    plan = plan_inference(paths, tiles, recipe, checksums.__getitem__, hashes, SHARD_TILES)
    loaded: list[Recipe] = []

    def load(chosen: Recipe) -> ThresholdSegmenter:
        loaded.append(chosen)
        return ThresholdSegmenter()

    infer_shard(paths, plan.key, 0, recipe, SerialEngine(load), SHARD_TILES)
    markers = set(read_plan(paths, plan.key).query("shard == 0").marker)
    expected = {"own.pt" if marker == own else "tiny" for marker in markers}
    assert expected == {chosen.model for chosen in loaded}
    assert {"hybrid"} == {chosen.name for chosen in loaded}


def test_full_disk_stops_the_shard_with_one_clear_error(tmp_path: Path, manifest: Path) -> None:
    """On a file system that is really full, nothing counts as done, and space alone mends it."""
    script = f"""
import os, sys
from pathlib import Path
from somaflow.errors import OutputError
from somaflow.paths import RunPaths
from somaflow.ledger import read_plan, unfinished_shards
from tests.inference.worker import main
output = Path({str(tmp_path / "small")!r})
try:
    main(output, Path({str(manifest)!r}))
    print("no error")
except OutputError as error:
    print("refused:", error)
ballast = output / "ballast"
ballast.unlink()
key = main(output, Path({str(manifest)!r}))
paths = RunPaths(output)
print("left:", unfinished_shards(paths, key, read_plan(paths, key)))
print("strays:", [p.name for p in output.rglob("*tmp*")])
"""
    (tmp_path / "small").mkdir()
    # 400 KB with ballast that leaves room for the plan but not for all shards.
    ballast = tmp_path / "small" / "ballast"
    command = with_mount(
        ballast.parent, "size=400k", f"dd if=/dev/zero of={ballast} bs=1k count=330 status=none"
    )
    done = subprocess.run(
        [*command, sys.executable, "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, left, strays = (line for line in done.stdout.splitlines() if line != "planned")
    assert refused.startswith("refused: output must be writable, cannot write ")
    assert "the disk is full; free space and run again" in refused
    assert left == "left: []"
    assert strays == "strays: []"


def test_output_that_is_a_file_is_refused(tmp_path: Path, manifest: Path) -> None:
    """An output folder that cannot be made is one clear error."""
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match=r"output must be writable, cannot write .*out"):
        main(tmp_path / "out", manifest)


def test_records_hold_no_time_and_no_host(tmp_path: Path, manifest: Path) -> None:
    """Two machines at two times would commit the same record."""
    key = main(tmp_path / "out", manifest)
    record = json.loads(RunPaths(tmp_path / "out").record(key, 0).read_text())
    assert {
        "array", "cells_sha256", "device", "index", "key", "labels_sha256", "schema_version",
        "shard", "tiles",
    } == set(record)  # fmt: skip


def test_unknown_and_unsegmented_tiles_are_named(tmp_path: Path, manifest: Path) -> None:
    """Reading a tile that is not there says which tiles are, and one not done says what to run."""
    paths = RunPaths(tmp_path / "out")
    key = main(tmp_path / "out", manifest)
    paths.record(key, 0).unlink()
    store = open_labels(paths.labels(key))
    with pytest.raises(StoreError, match="tile_id must be one of the 14 tiles"):
        store.read("nowhere")
    first = read_plan(paths, key).tile_id[0]
    with pytest.raises(StoreError, match="lies in shard 0, which is not done; run e5-inference"):
        store.read(first)
    with pytest.raises(StoreError, match="labels must lie in <output>/labels/<key>"):
        open_labels(tmp_path)
