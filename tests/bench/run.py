"""Compares somaflow with what people use today and writes one JSON file, a row a comparison.

Run it as ``python -m tests.bench.run [--out bench.json] [--only NAME]``. A row says name, ours_s,
theirs_s (medians), ratio (theirs / ours), equal (the results agreed in this very run), theirs
(what it is) and machine. To add a comparison, write a function that returns such a row without
the machine, and list it in `BENCHES`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from somaflow.files import write_text
from tests.bench.counting import bench_count_matches
from tests.bench.donors import bench_associate, bench_associate_partial, bench_spearman_bootstrap
from tests.bench.engine import bench_engine_in_domain, bench_engine_out_of_domain
from tests.bench.features import bench_measure_cells
from tests.bench.gates import bench_gate_grid
from tests.bench.machine import describe_machine
from tests.bench.shards import bench_encode_shard
from tests.bench.stages import bench_stages
from tests.bench.sweep import bench_segment_tile, bench_threshold_sweep
from tests.bench.training import bench_train_epoch
from tests.bench.workers import bench_worker_memory

Row = dict[str, object]

BENCHES: dict[str, Callable[[], Row | list[Row]]] = {
    "associate": bench_associate,
    "associate_partial": bench_associate_partial,
    "count_matches": bench_count_matches,
    "encode_shard": bench_encode_shard,
    "engine_in_domain": bench_engine_in_domain,
    "engine_out_of_domain": bench_engine_out_of_domain,
    "gate_grid": bench_gate_grid,
    "measure_cells": bench_measure_cells,
    "segment_tile": bench_segment_tile,
    "stages": bench_stages,
    "spearman_bootstrap": bench_spearman_bootstrap,
    "threshold_sweep": bench_threshold_sweep,
    "train_epoch": bench_train_epoch,
    "worker_memory": bench_worker_memory,
}


LEAST_RATIOS = {
    "count_matches": 4.0,
    "gate_grid": 5.0,
    "measure_cells": 20.0,
    "segment_tile": 1.4,
    "threshold_sweep": 1.6,
}
"""Less than half of what is usual: below it something was broken, not a machine busy."""


def run_benches(names: list[str], out: Path) -> list[Row]:
    """Runs the named comparisons one after the other and writes the rows to `out` as JSON."""
    _use_one_thread()
    machine = describe_machine()
    rows: list[Row] = []
    for name in names:
        found = BENCHES[name]()
        for row in found if isinstance(found, list) else [found]:
            print(
                f"{row['name']}: ours {row['ours_s']:.4g} s, theirs {row['theirs_s']:.4g} s, "
                f"ratio {row['ratio']:.3g}, equal {row['equal']}",
                flush=True,
            )
            rows.append(row | {"machine": machine})
    write_text(out, json.dumps(rows, indent=2) + "\n")
    return rows


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def main() -> None:
    """Reads the command line, runs and fails if any comparison did not agree."""
    parser = argparse.ArgumentParser(description="somaflow against what people use today")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--only", choices=sorted(BENCHES), action="append")
    parser.add_argument("--check", action="store_true", help="fail below the least ratios")
    arguments = parser.parse_args()
    names = list(LEAST_RATIOS) if arguments.check else list(BENCHES)
    rows = run_benches(arguments.only or names, arguments.out)
    unequal = [str(row["name"]) for row in rows if not row["equal"]]
    if unequal:
        raise SystemExit(f"results must be equal to be compared, differ in: {', '.join(unequal)}")
    if arguments.check and (slow := find_slow(rows)):
        raise SystemExit("\n".join(slow))


def find_slow(rows: list[Row]) -> list[str]:
    """A line for each comparison that is below its least ratio."""
    lines = []
    for row in rows:
        ratio, least = float(str(row["ratio"])), LEAST_RATIOS.get(str(row["name"]), 0.0)
        if ratio < least:
            lines.append(
                f"{row['name']} must be {least:g} times as fast as {row['theirs']}, was "
                f"{ratio:.3g} times; something made it slower"
            )
    return lines


if __name__ == "__main__":
    main()
