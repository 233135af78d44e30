"""Small studies that are begun: prepared, segmented and trained as far as a test wants."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from somaflow.engine import SerialEngine
from somaflow.experiments.jobs import Job, recipe_job
from somaflow.experiments.plan import plan_trainings
from somaflow.experiments.results import Results, write_results
from somaflow.files import write_text
from somaflow.inference import infer_shard
from somaflow.inventory import find_prepared, labelled_tiles, read_tiles
from somaflow.pending import find_pending
from somaflow.study import Study, dump_study, load_study
from somaflow.training import Health, StopRequest, read_history, train_model
from tasks.preparation import find_tiles, hash_labelled, prepare_images, split_labelled
from tests.conftest import REPOSITORY
from tests.inference.study_files import ThresholdSegmenter, write_tiles

DAY_S = 86_400
_HOLDER = """
import sys, time
from pathlib import Path
from somaflow.claims import claim_study
from somaflow.paths import RunPaths
with claim_study(RunPaths(Path(sys.argv[1])), "segment all of mine"):
    print("held", flush=True)
    time.sleep(600)
"""


def write_study(folder: Path, n_tiles: int = 6, **fields: Any) -> Path:
    """The file of a study of tiles without labels, in shards of two, that was never begun."""
    content = {
        "name": "begun",
        "tiles": {"root": str(write_tiles(folder, n_tiles, ((64, 80),))), "layout": "manifest"},
        "output": "output",
        "recipes": [{"name": "bright", "model": "threshold"}],
        "inference_recipe": "bright",
        "shard_tiles": 2,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content | fields))
    return path


def prepare(path: Path) -> Study:
    """What e0-prepare leaves of a study."""
    study = load_study(path)
    write_text(study.paths.study, dump_study(study))
    find_tiles.fn(study)
    labelled = labelled_tiles(read_tiles(study.paths), study)
    if len(labelled):
        splits = split_labelled.fn(study, labelled)
        prepare_images.fn(study, labelled, splits, hash_labelled.fn(study, labelled, splits))
    return study


def segment(study: Study, *shards: int, bad_tile: str = "", retry_quarantined: bool = False) -> str:
    """Commits shards, with `bad_tile` set aside; returns the key of the inference."""
    pending = find_pending(study, study.inference_recipe)
    for shard in shards:
        infer_shard(
            study.paths,
            pending.inference.key,
            shard,
            pending.recipe,
            SerialEngine(lambda _: ThresholdSegmenter()),
            study.shard_tiles,
            retry_quarantined=retry_quarantined,
            set_aside={bad_tile: "its worker died on it"},
        )
    return pending.inference.key


def first_job(study: Study) -> Job:
    """The first training of e1-recipes."""
    assert study.fine_tuning is not None
    prepared = find_prepared(study)
    (planned, *_) = plan_trainings(study.fine_tuning, prepared.tiles)
    return recipe_job(study, prepared, planned, study.recipe(study.fine_tuning.base))


def train(study: Study, job: Job, until_epoch: int | None = None) -> None:
    """Trains the job to its end, or until it is asked to stop, after so many epochs."""
    prepared, stop = find_prepared(study), StopRequest()

    def look(_health: Health) -> None:
        if until_epoch is not None and len(read_history(job.folder)) >= until_epoch:
            stop.ask("the test wants it")

    train_model(
        job.folder, prepared.tiles, prepared.folder, job.train_ids, job.val_ids, job.base,
        job.planned.settings, device="cpu", report=look, stop=stop,
    )  # fmt: skip


def add_page(study: Study, name: str, *words: str) -> None:
    """The current page of an experiment, as its flow would leave it."""
    results = Results(f"{name} of {study.name}")
    for part in words:
        results.add_words(part)
    write_results(results, study.paths.experiment(name, "key"))
    study.paths.write_current(study.paths.current_experiment(name), b"key\n")


def make_older(path: Path, days: float) -> None:
    """Lets a file seem to be written so long ago."""
    then = time.time() - days * DAY_S
    os.utime(path, (then, then))


@contextmanager
def at_work(output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process, called `segment all of mine`, that is at work on the study meanwhile."""
    command = [sys.executable, "-c", _HOLDER, str(output)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"held\n" == process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
