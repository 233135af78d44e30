"""One GPU: the engine against Cellpose's eval. ``python -m tests.bench.gpu``, with CUDA only.

Tiles of 1040 x 1388 px lie on disk as pairs of TIFF files. The net does the work of the full
Cellpose-SAM (304.6 M parameters, random weights) and finds the cells of `tiny`: see `standin`.
Theirs read a tile and evaluate it; ours also measures every cell and encodes the labels for zarr.
Fails unless both find the same cells, and ours the same bits twice. What the study would take is
told twice: from the cost of a tile in this run, and as in one go, filling and emptying once.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from copy import copy
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from somaflow import timing
from somaflow.engine import Engine, Job, TileDone
from somaflow.files import write_text
from somaflow.recipes import Recipe
from somaflow.segmenter.crops import plan_crops
from somaflow.segmenter.upstream import wrap_in_cellpose
from somaflow.synthetic.nuclei import draw_nuclei
from tests.bench.machine import describe_machine
from tests.bench.standin import build_standin
from tests.bench.tiles import eval_stack, read, write_rows
from tests.rows import average_precision

SHAPE = 1040, 1388
STUDY_TILES = 14_749
_LEAST_AP, _FULL_SCALE = 0.999, 4095  # of a 12-bit camera


def write_tiles(folder: Path, n_tiles: int, n_drawn: int) -> list[dict[str, Any]]:
    """Rows of so many tiles, drawn ones and their mirror images in turn."""
    rng = np.random.default_rng(11)
    drawn = [
        (draw_nuclei(rng, SHAPE)[0] * _FULL_SCALE).astype(np.uint16)
        for _ in range(min(n_drawn, n_tiles))
    ]
    turned = [tile[:, ::-1] for tile in drawn]
    return write_rows(folder, islice(cycle(drawn + turned), n_tiles))


def eval_loop(model: Any, rows: list[dict[str, Any]], batch_size: int) -> Iterator[np.ndarray]:
    """Tile by tile, as most scripts do."""
    for row in rows:
        yield model.eval(read(row), channel_axis=0, batch_size=batch_size)[0]


def seconds_a_tile(engine: Engine, rows: list[dict[str, Any]]) -> tuple[float, list[TileDone]]:
    """Seconds a tile, and what came of them."""
    started = time.perf_counter()
    done = list(engine.run(Job(row, Recipe()) for row in rows))
    return (time.perf_counter() - started) / len(rows), done


def measure(
    n_tiles: int, n_theirs: int, n_workers: int, batch_size: int, device: str = "cuda"
) -> dict[str, Any]:
    """The figures, ours and theirs in turn; on the CPU only to try the bench itself."""
    import torch

    net = build_standin(device)
    model = wrap_in_cellpose(net, "stand-in")
    fused = net.fused()
    ceiling_s = net_seconds_a_tile(fused, batch_size)
    without_tiny_s = net_seconds_a_tile(fused.full, batch_size)
    with tempfile.TemporaryDirectory() as folder:
        rows = write_tiles(Path(folder), n_tiles, n_drawn=8)
        with Engine(n_workers, lambda _: (fused, ""), batch_size) as engine:
            seconds_a_tile(engine, rows[: 2 * n_workers])  # starts, compiles, fills caches
            list(eval_loop(model, rows[:1], 8))
            times: dict[str, list[float]] = {"ours": [], "loop": [], "loop_64": [], "stack": []}
            study_s: list[float] = []
            theirs: list[np.ndarray] = []
            net_s = dynamics_s = 0.0
            for _ in range(3):
                few_s, _ = seconds_a_tile(engine, rows[: n_tiles // 4])
                before = copy(engine.times()[0])
                ours_s, done = seconds_a_tile(engine, rows)
                net_s += engine.times()[0].net_s - before.net_s
                dynamics_s += engine.times()[0].objects_s - before.objects_s
                times["ours"].append(ours_s)
                few = n_tiles // 4, few_s * (n_tiles // 4)
                study_s.append(extrapolate(few, (n_tiles, ours_s * n_tiles), STUDY_TILES))
                for name, call in {
                    "loop": lambda: list(eval_loop(model, rows[:n_theirs], 8)),
                    "loop_64": lambda: list(eval_loop(model, rows[:n_theirs], 64)),
                    "stack": lambda: eval_stack(model, rows[:n_theirs], 32),
                }.items():
                    started = time.perf_counter()
                    labels = call()
                    times[name].append((time.perf_counter() - started) / n_theirs)
                    theirs = labels if name == "loop" else theirs
            worker_mb = max(psutil.Process(pid).memory_info().rss for pid in engine.pids()) / 2**20
            gpu_mb = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
            _, again = seconds_a_tile(engine, rows[: 2 * n_workers])
            seconds: timing.Seconds = {}
            for tile in done:
                timing.add(seconds, tile.seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    encoded = [tile.encoded for tile in done]
    pairs = zip(done, again, strict=False)
    return {
        "date": date.today().isoformat(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "none",
        "torch": torch.__version__,
        "tiles": n_tiles,
        "workers": n_workers,
        "batch_size": batch_size,
        "cells_a_tile": statistics.mean(tile.record.n_cells for tile in done),
        "seconds_a_tile": medians,
        "ratio_to_loop": medians["loop"] / medians["ours"],
        "ratio_to_loop_of_batches_of_64": medians["loop_64"] / medians["ours"],
        "ratio_to_stack": medians["stack"] / medians["ours"],
        "net_alone_s": ceiling_s,
        "net_alone_without_tiny_s": without_tiny_s,
        "share_of_ceiling": ceiling_s / medians["ours"],
        "net_busy_s": net_s / (3 * n_tiles),
        "dynamics_busy_s": dynamics_s / (3 * n_tiles),
        "net_kernels_ms": longest_kernels(fused, batch_size),
        "gpu_mb": gpu_mb,
        "worker_mb": worker_mb,
        "minutes_for_14749_tiles": STUDY_TILES * medians["ours"] / 60,
        "minutes_for_14749_tiles_in_one_go": statistics.median(study_s) / 60,
        "worker_ms_a_tile": {name: 1000 * s / n_tiles for name, s in seconds.items()},
        "ap90": average_precision(theirs, encoded[:n_theirs], rows[:n_theirs]),
        "same_bits_again": all(one.encoded == other.encoded for one, other in pairs),
        "notes": engine.times()[0].notes,
        "machine": describe_machine(),
    }


def extrapolate(few: tuple[int, float], many: tuple[int, float], n_tiles: int) -> float:
    """Seconds of so many tiles in one go, from the seconds of few and of many.

    Filling and emptying the engine costs each run the same; shards of a study overlap, so that it
    pays for them once.
    """
    (n_few, few_s), (n_many, many_s) = few, many
    each_s = (many_s - few_s) / (n_many - n_few)
    return many_s + (n_tiles - n_many) * each_s


def net_seconds_a_tile(net: Any, batch_size: int) -> float:
    """What the net alone takes for the crops of a tile, in full batches that lie on the device."""
    import torch

    batch = torch.rand(batch_size, 3, 256, 256, device=net.device, dtype=net.dtype)
    seconds = []
    with torch.inference_mode():
        for _ in range(8):
            _await_device(net)
            started = time.perf_counter()
            net(batch)
            _await_device(net)
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[3:]) / batch_size * len(plan_crops(*SHAPE).starts)


def longest_kernels(net: Any, batch_size: int, n_kernels: int = 12) -> dict[str, float]:
    """Milliseconds of a batch by kernel, the longest first: which attention runs, and what copies.

    On a CPU, for tests, by operator.
    """
    import torch
    from torch.profiler import profile

    on_gpu = net.device.type == "cuda"
    batch = torch.rand(batch_size, 3, 256, 256, device=net.device, dtype=net.dtype)
    with torch.inference_mode(), profile() as profiled:
        net(batch)
        _await_device(net)
    spent_us = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profiled.key_averages()
    }
    longest = sorted(spent_us.items(), key=lambda item: -item[1])[:n_kernels]
    return {name[:100]: round(us / 1000, 3) for name, us in longest}


def _await_device(net: Any) -> None:
    import torch

    if net.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Reads the command line, measures, prints and writes; fails where the cells differ."""
    parser = argparse.ArgumentParser(description="the engine against Cellpose's eval on one GPU")
    parser.add_argument("--out", type=Path, default=Path("bench-gpu.json"))
    parser.add_argument("--tiles", type=int, default=256)
    parser.add_argument("--theirs", type=int, default=8, help="tiles that theirs are timed on")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    found = measure(options.tiles, options.theirs, options.workers, options.batch_size)
    print(json.dumps(found, indent=1))
    write_text(options.out, json.dumps(found, indent=1) + "\n")
    if not (found["ap90"] > _LEAST_AP and found["same_bits_again"]):
        raise SystemExit(
            f"cells must be those of eval, with an AP at IoU 0.9 over {_LEAST_AP}, got "
            f"{found['ap90']:.5f}; and the same bits each time, got {found['same_bits_again']}"
        )


if __name__ == "__main__":
    main()
