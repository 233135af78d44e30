"""What donor statistics start from: quality of tiles, and features from committed cells alone."""

from pathlib import Path

import pandas as pd

from somaflow.donors.parts import (
    digest_records,
    plan_quality,
    read_quality,
    write_quality,
    write_tile_features,
)
from somaflow.engine import SerialEngine
from somaflow.inference import infer_shard, plan_inference
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.segmenter import ThresholdSegmenter, weights_sha256
from somaflow.tiles import discover_tiles
from somaflow.tiles.quality import QualityLimits
from tests.inference.study_files import write_tiles

RECIPE = Recipe(model="threshold")


def make_study(folder: Path) -> tuple[RunPaths, pd.DataFrame, dict[str, str], str]:
    """Four tiles planned in shards of two, the first shard segmented."""
    tiles = discover_tiles(write_tiles(folder, 4, shapes=((64, 80),)), layout="manifest")
    files = {path: "x" for path in [*tiles.dapi_path, *tiles.marker_path]}
    paths = RunPaths(folder / "output")
    key = plan_inference(paths, tiles, RECIPE, weights_sha256, files, 2).key
    infer_shard(paths, key, 0, RECIPE, SerialEngine(lambda _: ThresholdSegmenter()), 2)
    return paths, tiles, files, key


def test_only_committed_tiles_have_features(tmp_path: Path) -> None:
    """Of four tiles two are segmented: two rows, and as many cells as their records say."""
    paths, tiles, files, key = make_study(tmp_path)
    parts = plan_quality(tiles, files, 0)
    for part in parts:
        write_quality(part.tiles, 0, paths.donor_part("tile-quality", part.key))
    quality = read_quality(paths, parts, QualityLimits())
    target = paths.donor_part("tile-features", "k")
    mixtures = paths.donor_part("mixtures", "k")
    rules = ["p75", "otsu", "mixture"]
    n_cells = write_tile_features(paths, key, quality, rules, None, target, mixtures)
    features = pd.read_parquet(target)
    assert 4 == len(quality)
    assert 2 == len(features)
    assert n_cells == features.n_cells.sum() > 0
    assert {"any|density_per_mpx", "p75|positive_fraction"} <= set(features)
    assert (pd.read_parquet(mixtures).why != "").all()  # too few cells for any


def test_digest_changes_with_what_is_committed(tmp_path: Path) -> None:
    """Another shard is another digest, so that statistics are made anew; a look changes nothing."""
    paths, _, _, key = make_study(tmp_path)
    before = digest_records(paths, key)
    assert before == digest_records(paths, key)
    infer_shard(paths, key, 1, RECIPE, SerialEngine(lambda _: ThresholdSegmenter()), 2)
    assert before != digest_records(paths, key)


def test_tile_that_cannot_be_read_is_a_row_with_its_reason(tmp_path: Path) -> None:
    """A truncated file does not pass, says why, and does not keep the others from passing."""
    tiles = discover_tiles(write_tiles(tmp_path, 3, shapes=((64, 80),)), layout="manifest")
    bad = Path(tiles.marker_path[0])
    bad.write_bytes(bad.read_bytes()[:100])
    paths = RunPaths(tmp_path / "output")
    files = {path: "x" for path in [*tiles.dapi_path, *tiles.marker_path]}
    (part,) = plan_quality(tiles, files, 0)
    assert 1 == write_quality(part.tiles, 0, paths.donor_part("tile-quality", part.key))
    quality = read_quality(paths, [part], QualityLimits(min_relative_focus=0)).set_index("tile_id")
    assert not quality.passes[tiles.tile_id[0]]
    assert "Error" in quality.why[tiles.tile_id[0]]
    assert quality.passes.sum() == 2


def test_study_of_unreadable_tiles_is_judged_too(tmp_path: Path) -> None:
    """Where no tile at all could be measured, none passes, and each says why."""
    tiles = discover_tiles(write_tiles(tmp_path, 2, shapes=((64, 80),)), layout="manifest")
    for path in tiles.marker_path:
        Path(path).write_bytes(b"no image")
    paths = RunPaths(tmp_path / "output")
    files = {path: "x" for path in [*tiles.dapi_path, *tiles.marker_path]}
    (part,) = plan_quality(tiles, files, 0)
    assert 2 == write_quality(part.tiles, 0, paths.donor_part("tile-quality", part.key))
    quality = read_quality(paths, [part], QualityLimits())
    assert not quality.passes.any()
    assert (quality.why != "").all()


def test_quality_is_keyed_by_content(tmp_path: Path) -> None:
    """The same tiles have the same key wherever they lie; another file, or offset, another one."""
    tiles = discover_tiles(write_tiles(tmp_path, 2, shapes=((64, 80),)), layout="manifest")
    files = {path: "x" for path in [*tiles.dapi_path, *tiles.marker_path]}
    (one,) = plan_quality(tiles, files, 0)
    (again,) = plan_quality(tiles.iloc[::-1], files, 0)
    (offset,) = plan_quality(tiles, files, 7)
    (other,) = plan_quality(tiles, files | {tiles.dapi_path[0]: "y"}, 0)
    assert one.key == again.key
    assert 3 == len({one.key, offset.key, other.key})
