"""One epoch of training: somaflow.training against Cellpose's train_seg, time and memory.

``python -m tests.bench.training ours|theirs FOLDER SETTINGS`` trains once in a process of its own
and prints its peak memory; the comparison itself calls it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from somaflow.recipes import Recipe, TrainingSettings
from tests.train_seg import call_train_seg
from tests.training.tiles import ids, write_tiles

# 1040 px high, as the study's tiles are.
_SIDE_PX = 1040
_N_EPOCHS = 6
_Result = tuple[list[float], dict[str, Any]]


def bench_train_epoch(
    n_tiles: int = 8, n_cells: int = 60, side_px: int = _SIDE_PX, n_epochs: int = _N_EPOCHS
) -> dict[str, object]:
    """Median seconds of an epoch of `tiny` on the same tiles, and peak memory of both."""
    settings = TrainingSettings(n_epochs=n_epochs, schedule="cellpose", learning_rate=1e-3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write_tiles(folder, n_cells=(n_cells,) * n_tiles, n_val=0, side_px=side_px)
        table.to_parquet(folder / "prepared.parquet")
        runs: dict[str, Callable[..., _Result]] = {"ours": train_ours, "theirs": train_theirs}
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        weights: dict[str, dict[str, Any]] = {}
        for _ in range(2):  # in turn, so that a busy moment of the machine hits both
            for side, run in runs.items():
                found, weights[side] = run(folder, settings)
                seconds[side] += found
        peaks = {f"{side}_peak_mb": _measure_peak_mb(side, folder, settings) for side in runs}
    ours_s, theirs_s = (statistics.median(values) for values in seconds.values())
    return {
        "name": "train_epoch",
        "ours_s": ours_s,
        "theirs_s": theirs_s,
        "ratio": theirs_s / ours_s,
        "equal": _are_equal(weights["ours"], weights["theirs"]),
        "theirs": f"cellpose.train.train_seg, {n_tiles} tiles of {side_px} x {side_px + 8} px, "
        f"tiny, batch_size=1, an epoch of {n_epochs}, nothing scored; weights compared bit for bit",
        **peaks,
    }


def train_ours(folder: Path, settings: TrainingSettings) -> _Result:
    """Seconds of each epoch but the first, with saving and history, and the last weights."""
    import torch

    from somaflow.training import train_model

    table = pd.read_parquet(folder / "prepared.parquet")
    ends: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        trained = train_model(
            Path(name) / "run",
            table,
            folder,
            ids(table, "train"),
            [],
            Recipe(),
            settings,
            device="cpu",
            report=lambda health: ends.update({health.epoch: time.perf_counter()}),
        )
        weights = torch.load(trained.last_path, weights_only=True)
    return np.diff(list(ends.values())).tolist(), weights


def train_theirs(folder: Path, settings: TrainingSettings) -> _Result:
    """Seconds of each epoch but the last, and the last weights."""
    from somaflow.segmenter import load_net

    table = pd.read_parquet(folder / "prepared.parquet")
    net, *_ = load_net("tiny", "cpu", precision="fp32")
    starts, to_training = [], net.train

    def note_start(mode: bool = True) -> Any:
        if mode:  # train_seg calls it once an epoch
            starts.append(time.perf_counter())
        return to_training(mode)

    net.train = note_start
    with tempfile.TemporaryDirectory() as name:
        call_train_seg(net, table, folder, settings, name)
    return np.diff(starts).tolist(), net.state_dict()


def _are_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    same_names = list(ours) == list(theirs)
    return same_names and all(ours[name].equal(value) for name, value in theirs.items())


def _measure_peak_mb(side: str, folder: Path, settings: TrainingSettings) -> float:
    """Peak memory of a training in a process of its own, in MB, with all libraries."""
    command = [sys.executable, "-m", "tests.bench.training", side, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, settings.model_dump_json()],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _read_peak_mb() -> float:
    """Of this process; not ru_maxrss where avoidable, which starts from the parent's memory."""
    status = Path("/proc/self/status")
    if status.is_file():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    import resource

    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def main(side: str, folder: str, settings: str) -> None:
    """Trains once and prints the peak memory in MB."""
    from somaflow.segmenter import limit_threads

    limit_threads(1)
    run = {"ours": train_ours, "theirs": train_theirs}[side]
    run(Path(folder), TrainingSettings.model_validate_json(settings))
    print(f"{_read_peak_mb():.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
