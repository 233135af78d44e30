"""An inference on small tiles, planned and not begun."""

from pathlib import Path

from somaflow.inference import plan_inference
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.segmenter import weights_sha256
from somaflow.tiles import discover_tiles
from tasks.inference import Work
from tests.inference.study_files import write_tiles


def plan_work(folder: Path, n_tiles: int, shard_tiles: int) -> Work:
    """What its shards have in common; it takes a threshold and needs no net."""
    tiles = discover_tiles(write_tiles(folder, n_tiles, shapes=((64, 80),)), layout="manifest")
    recipe = Recipe(model="threshold")
    paths = RunPaths(folder / "output")
    files = {path: "x" for path in [*tiles.dapi_path, *tiles.marker_path]}
    planned = plan_inference(paths, tiles, recipe, weights_sha256, files, shard_tiles)
    return Work(paths.output, planned.key, planned.n_shards, recipe, "cpu", shard_tiles, 0, False)
