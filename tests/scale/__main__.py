"""Runs studies of full-size tiles whole and writes what they took as one JSON file.

`python -m tests.scale --tiles 150 1500 14749 --folder DIR --out scale.json`. Nothing is asserted
about time; a tile that is missing, twice or set aside fails the run.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.server import temporary_server
from infra.specs import load_site
from somaflow.errors import SomaflowError
from somaflow.files import write_text
from somaflow.paths import RunPaths
from somaflow.study import load_study
from somaflow.tables import as_text
from tests.bench.machine import describe_machine
from tests.scale.bare import same_bytes, time_bare
from tests.scale.study import check_disk, make_study
from tests.scale.summary import derive, describe_memory, describe_run, tabulate
from tests.scale.totals import WrongTiles, check_tiles, find_key, measure_outputs
from tests.scale.watch import run_watched

_BARE_SHARDS = 4


def run_size(folder: Path, n_tiles: int) -> dict[str, Any]:
    """Makes a study of that many tiles, runs it twice and returns its figures.

    Raises:
        WrongTiles: if a tile is missing, twice or set aside.
    """
    study_path = make_study(folder, n_tiles)
    print(f"{n_tiles} tiles: prepare, segment, segment again, status", flush=True)
    prepared = run_watched("run", "e0-prepare", study_path)
    run = run_watched("run", "e5-inference", study_path)
    again = run_watched("run", "e5-inference", study_path)
    with temporary_server(folder / "prefect") as server:
        served = run_watched("run", "e5-inference", study_path, server=server)
    status = run_watched("status", study_path)
    paths = load_study(study_path).paths
    key = find_key(paths)
    found = check_tiles(paths, key, n_tiles)
    row = {
        "found": found,
        "prepare": {"wall_s": prepared.wall_s, "flow_cpu_s": prepared.taken["flow"].cpu_s},
        "run": describe_run(run),
        "memory": describe_memory(run),
        "again": {"wall_s": again.wall_s, "flow_cpu_s": again.taken["flow"].cpu_s},
        "again_served": {"wall_s": served.wall_s},
        "status": {"wall_s": status.wall_s},
        "files": measure_outputs(paths, key),
        **_compare_with_bare(study_path, folder / "bare", key, found["shards"]),
    }
    nothing = {
        "flow_cpu_s": again.taken["flow"].cpu_s,
        "server_cpu_s": 0.0,  # a finished study starts none
    }
    return row | {"derived": derive(row, nothing)}


def _compare_with_bare(study_path: Path, output: Path, key: str, n_shards: int) -> dict[str, Any]:
    """Seconds of a shard without Prefect and Dask, and whether it left the same bytes."""
    shards = list(range(min(_BARE_SHARDS, n_shards)))
    seconds = time_bare(study_path, output, shards, n_processes=load_site("laptop").workers)
    same = same_bytes(load_study(study_path).paths, RunPaths(output), key, shards)
    shutil.rmtree(output)
    return {"bare_shard_s": sum(seconds) / len(seconds), "equal_to_bare": same}


def main() -> int:
    """Reads the command line and runs the sizes; returns 1 after one clear line if one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--tiles", type=int, nargs="+", default=[150, 1500, 14_749])
    parser.add_argument("--folder", type=Path, required=True, help="For the studies; must be new.")
    parser.add_argument("--out", type=Path, default=Path("scale.json"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    try:
        check_disk(options.folder, options.tiles)
        for n_tiles in options.tiles:
            rows.append(run_size(options.folder.absolute() / str(n_tiles), n_tiles))
            content = {"machine": describe_machine(), "sizes": rows}
            write_text(options.out, json.dumps(content, indent=2) + "\n")
    except (SomaflowError, WrongTiles) as error:
        print(f"tests.scale: {error}", file=sys.stderr)
        return 1
    Console(width=140).print(as_text(tabulate(rows), "Scale"))
    unequal = [row["found"]["tiles"] for row in rows if not row["equal_to_bare"]]
    if unequal:
        print(f"tests.scale: shards must equal those of bare calls, differ in {unequal}")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
