"""Whole tiles from disk: the engine on two cores against the four ways people run Cellpose.

Each is timed with its model loaded, but for Cellpose's command line, which is started anew each
time. Theirs use as many threads as there are cores, as torch does by itself; they read a tile and
evaluate it. Ours also measures every cell and encodes the labels for zarr.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from distributed import Client, LocalCluster
from scipy import ndimage

from somaflow.engine import Engine, Job, count_cores
from somaflow.labelstore import decode_labels
from somaflow.recipes import Recipe
from somaflow.segmenter import load_segmenter
from somaflow.segmenter.weights import find_weights
from somaflow.synthetic.nuclei import draw_nuclei
from tests.bench.tiles import eval_stack, read, write_rows

Kind = Literal["in_domain", "out_of_domain"]
SHAPE = 1040, 1388
_FULL_SCALE = 4095  # of a 12-bit camera


def bench_engine_in_domain(shape: tuple[int, int] = SHAPE, n_tiles: int = 4) -> list[dict]:
    """Nuclei as `tiny` knows them."""
    return _compare("in_domain", shape, n_tiles, n_repeats=3)


def bench_engine_out_of_domain(shape: tuple[int, int] = SHAPE, n_tiles: int = 2) -> list[dict]:
    """Textures without cells, in which a net sees hundreds of poor ones; each takes a minute."""
    return _compare("out_of_domain", shape, n_tiles, n_repeats=1)


def draw_tile(rng: np.random.Generator, kind: Kind, shape: tuple[int, int]) -> np.ndarray:
    """(2, Y, X) uint16."""
    if kind == "in_domain":
        return (draw_nuclei(rng, shape)[0] * _FULL_SCALE).astype(np.uint16)
    fine = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, 4, 4))
    return (10_000 + 4_000 * fine / fine.std()).clip(0, 65_535).astype(np.uint16)


def _compare(kind: Kind, shape: tuple[int, int], n_tiles: int, n_repeats: int) -> list[dict]:
    rng = np.random.default_rng(13)
    tiles = [draw_tile(rng, kind, shape) for _ in range(n_tiles)]
    model = load_segmenter("tiny", device="cpu").cellpose_model
    with (
        _as_many_threads_as_cores(),
        tempfile.TemporaryDirectory() as folder,
        Engine(2) as engine,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        rows = write_rows(Path(folder), tiles)
        ways: dict[str, Callable[[], list[np.ndarray]]] = {
            "ours": lambda: _run_engine(engine, rows, shape),
            "loop": lambda: [model.eval(read(row), channel_axis=0)[0] for row in rows],
            "stack": lambda: eval_stack(model, rows, batch_size=8),
            "dask": lambda: client.gather(client.map(_eval_tile, rows, pure=False)),
            "cli": lambda: _run_cli(rows, Path(folder)),
        }
        labels = {name: call() for name, call in ways.items()}  # also warms up
        _run_engine(engine, 4 * rows, shape)  # each of its processes
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(n_repeats):
            for name, call in ways.items():
                started = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - started)
    n_cells = int(np.mean([tile.max() for tile in labels["loop"]]))
    what = {
        "loop": "CellposeModel.eval in a loop",
        "stack": "CellposeModel.eval of all tiles as one array",
        "dask": "CellposeModel.eval mapped over two Dask workers of one thread",
        "cli": "the command line of Cellpose, whole",
    }
    ours_s = statistics.median(seconds["ours"])
    return [
        {
            "name": f"engine_{kind}_{way}",
            "ours_s": ours_s,
            "theirs_s": statistics.median(seconds[way]),
            "ratio": statistics.median(seconds[way]) / ours_s,
            "equal": all(map(np.array_equal, labels["ours"], labels[way])),
            "theirs": f"{description}, {n_tiles} tiles of {shape[0]} x {shape[1]} px, {n_cells} "
            "cells each",
        }
        for way, description in what.items()
    ]


@contextmanager
def _as_many_threads_as_cores() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count_cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_engine(engine: Engine, rows: list[dict[str, Any]], shape: tuple[int, int]) -> list:
    done = engine.run(Job(row, Recipe()) for row in rows)
    return [decode_labels(tile.encoded, *shape) for tile in done]


def _eval_tile(row: dict[str, Any]) -> np.ndarray:
    labels: np.ndarray = _tiny().eval(read(row), channel_axis=0)[0]
    return labels


@lru_cache(maxsize=1)
def _tiny() -> Any:
    return load_segmenter("tiny", device="cpu").cellpose_model


def _run_cli(rows: list[dict[str, Any]], folder: Path) -> list[np.ndarray]:
    images = folder / "for-cli"
    images.mkdir(exist_ok=True)
    for number, row in enumerate(rows):
        tifffile.imwrite(images / f"{number:04d}.tif", read(row))
    command = [sys.executable, "-m", "tests.bench.cellpose_cli", "--dir", str(images)]
    command += ["--pretrained_model", str(find_weights("tiny"))]
    command += ["--save_tif", "--no_npy"]
    subprocess.run(command, check=True, capture_output=True)
    return [tifffile.imread(images / f"{number:04d}_cp_masks.tif") for number in range(len(rows))]
