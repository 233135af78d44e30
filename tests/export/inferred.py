"""Segmented studies to export from, made with a segmenter that needs no network."""

from pathlib import Path

import pandas as pd
import yaml

from somaflow.engine import SerialEngine
from somaflow.inference import infer_shard, plan_inference
from somaflow.keys import fingerprint_files
from somaflow.ledger import read_plan, unfinished_shards
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.synthetic import write_study
from somaflow.tiles import discover_tiles
from tests.inference.study_files import ThresholdSegmenter, write_tiles

SHARD_TILES = 2
# Room for one level and, with odd sides, for three; d0 and d1 have tiles of both.
SHAPES = ((64, 80), (515, 521))
N_TILES = 8


def plan_tiles(
    paths: RunPaths, tiles: pd.DataFrame, recipe: Recipe | None = None, pixel_offset: int = 0
) -> str:
    """Plans the inference of these tiles, and returns its key."""
    files = tiles[["dapi_path", "marker_path"]].to_numpy().ravel()
    hashes = fingerprint_files(files, paths.fingerprints)
    chosen, weights = recipe or Recipe(), "0" * 64
    return plan_inference(
        paths, tiles, chosen, lambda _: weights, hashes, SHARD_TILES, pixel_offset
    ).key


def infer_tiles(paths: RunPaths, key: str, pixel_offset: int = 0) -> None:
    """Segments all shards that are not done."""
    segmenter = ThresholdSegmenter()
    for shard in unfinished_shards(paths, key, read_plan(paths, key)):
        infer_shard(
            paths,
            key,
            shard,
            Recipe(),
            SerialEngine(lambda _: segmenter),
            SHARD_TILES,
            pixel_offset,
        )


def write_segmented(folder: Path) -> tuple[RunPaths, pd.DataFrame, str]:
    """Squares on noise, segmented: paths, tile table and key."""
    tiles = discover_tiles(write_tiles(folder / "tiles", N_TILES, SHAPES), layout="manifest")
    paths = RunPaths(folder / "output")
    key = plan_tiles(paths, tiles)
    infer_tiles(paths, key)
    return paths, tiles, key


def write_segmented_study(folder: Path) -> Path:
    """A small synthetic study with donors and regions, segmented; returns its study.yaml."""
    path = write_study(folder, n_donors=2, n_tiles=12, height_px=96, width_px=96, labelled_tiles=4)
    study = yaml.safe_load(path.read_text())
    paths = RunPaths(folder / study["output"])
    tiles = discover_tiles(folder / study["tiles"]["root"], layout="rosmap")
    infer_tiles(paths, plan_tiles(paths, tiles))
    return path
