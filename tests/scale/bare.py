"""Some shards of a study without Prefect and Dask: the library's calls alone, in plain processes.

`python -m tests.scale.bare STUDY OUTPUT SHARD...` prints the seconds of each shard as JSON.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from somaflow.engine import SerialEngine
from somaflow.inference import infer_shard, plan_inference
from somaflow.inventory import inference_tiles, read_tiles
from somaflow.keys import fingerprint_files
from somaflow.paths import RunPaths
from somaflow.segmenter import weights_sha256
from somaflow.segmenter.threshold import ThresholdSegmenter
from somaflow.study import load_study
from tests.conftest import REPOSITORY


def time_bare(study: Path, output: Path, shards: list[int], n_processes: int) -> list[float]:
    """Seconds of each shard, done by as many processes at once as the site has workers.

    Args:
        study: path of a study that has run.
        output: a new folder for the results of the bare calls.
        shards: numbers of the shards to do.
        n_processes: at once; each does its share one after the other.
    """
    command = [sys.executable, "-m", "tests.scale.bare", str(study), str(output)]
    started = [
        subprocess.Popen(
            [*command, *map(str, shards[first::n_processes])],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in range(min(n_processes, len(shards)))
    ]
    printed = [process.communicate()[0] for process in started]
    return [seconds for text in printed for seconds in json.loads(text)]


def infer_bare(study_path: Path, output: Path, shards: list[int]) -> list[float]:
    """Plans the study's inference under `output`, does the shards, and returns their seconds."""
    study, paths = load_study(study_path), RunPaths(output)
    tiles = inference_tiles(read_tiles(study.paths))
    files = tiles[["dapi_path", "marker_path"]].to_numpy().ravel()
    output.mkdir(parents=True, exist_ok=True)
    index = output / f"fingerprints-{shards[0]}.parquet"
    if study.paths.fingerprints.exists():
        shutil.copy(study.paths.fingerprints, index)
    hashes = fingerprint_files(files, index)
    recipe = study.recipe(study.inference_recipe)
    inference = plan_inference(paths, tiles, recipe, weights_sha256, hashes, study.shard_tiles)
    seconds = []
    engine = SerialEngine(lambda _: ThresholdSegmenter())
    for shard in shards:
        begun = time.monotonic()
        infer_shard(paths, inference.key, shard, recipe, engine, study.shard_tiles)
        seconds.append(time.monotonic() - begun)
    return seconds


def same_bytes(paths: RunPaths, bare: RunPaths, key: str, shards: list[int]) -> bool:
    """Whether the records of the shards, and with them all checksums, are equal."""
    return all(
        paths.record(key, shard).read_bytes() == bare.record(key, shard).read_bytes()
        for shard in shards
    )


if __name__ == "__main__":
    _, study_argument, output_argument, *numbers = sys.argv
    times = infer_bare(Path(study_argument), Path(output_argument), [int(n) for n in numbers])
    print(json.dumps(times))
