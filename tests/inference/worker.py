"""`python -m tests.inference.worker OUTPUT MANIFEST`: infers all tiles in this process."""

import sys
from pathlib import Path

from somaflow.engine import SerialEngine
from somaflow.inference import infer_shard, plan_inference
from somaflow.keys import fingerprint_files
from somaflow.ledger import read_plan, unfinished_shards
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.tiles import discover_tiles
from tests.inference.study_files import ThresholdSegmenter

SHARD_TILES = 3


def main(output: Path, manifest: Path, log: Path | None = None) -> str:
    """Plans, then does what is not done; returns the key."""
    paths = RunPaths(output)
    tiles = discover_tiles(manifest, layout="manifest")
    hashes = fingerprint_files(
        tiles[["dapi_path", "marker_path"]].to_numpy().ravel(), paths.fingerprints
    )
    recipe = Recipe()
    inference = plan_inference(paths, tiles, recipe, lambda _: "0" * 64, hashes, SHARD_TILES)
    plan = read_plan(paths, inference.key)
    segmenter = ThresholdSegmenter(log)
    print("planned", flush=True)
    for shard in unfinished_shards(paths, inference.key, plan):
        infer_shard(
            paths, inference.key, shard, recipe, SerialEngine(lambda _: segmenter), SHARD_TILES
        )
    return inference.key


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
