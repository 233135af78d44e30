"""What `e5-donors` takes at full size: `python -m tests.scale.donors --tiles 14749 --folder DIR`.

The study is that of `tests.scale`, with a trait table and a second recipe, so that two
segmentations are compared; both come from a threshold in place of the net. One JSON file.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from somaflow.errors import SomaflowError
from somaflow.files import write_text
from somaflow.paths import DONORS
from somaflow.study import load_study
from somaflow.synthetic.donors import draw_donors
from somaflow.synthetic.traits import draw_traits
from tests.bench.machine import describe_machine
from tests.scale.study import FULL_TILE, N_DONORS, check_disk, make_study
from tests.scale.watch import Watched, run_watched

_SECOND = {"name": "stand-in-large", "model": "threshold", "min_size_px": 90}
_STEPS = {
    "quality": "quality of tiles",
    "features": "tile features of",
    "statistics": "statistics of donors",
}


def add_traits(study_path: Path) -> None:
    """Gives a study for scale a trait table of its donors and a second recipe to compare with."""
    traits = draw_traits(0, draw_donors(0, N_DONORS))
    write_text(study_path.parent / "traits.csv", traits.to_csv(index=False))
    content = yaml.safe_load(study_path.read_text())
    content["recipes"].append(_SECOND)
    content |= {"traits": "traits.csv", "compare_with": [_SECOND["name"]]}
    write_text(study_path, yaml.safe_dump(content, sort_keys=False))


def measure_donors(study_path: Path) -> dict[str, Any]:
    """Prepares and segments with both recipes, runs e5-donors, and runs it again; its figures."""
    run_watched("run", "e0-prepare", study_path)
    inference = run_watched("run", "e5-inference", study_path)
    run = run_watched("run", "e5-donors", study_path)
    again = run_watched("run", "e5-donors", study_path)
    return {
        "inference_s": inference.wall_s,
        "donors_s": run.wall_s,
        **_find_steps(run),
        "again_s": again.wall_s,
        "peak_mb": {role: taken.peak_mb for role, taken in run.taken.items()},
        "cpu_s": {role: taken.cpu_s for role, taken in run.taken.items()},
        **_measure_results(study_path),
    }


def _find_steps(run: Watched) -> dict[str, float]:
    """When the last task of each step was finished, seconds since the command's start."""
    return {
        f"{step}_done_s": max(when_s for when_s, line in run.find(words) if "Finished" in line)
        for step, words in _STEPS.items()
    }


def _measure_results(study_path: Path) -> dict[str, int]:
    paths = load_study(study_path).paths
    key = paths.current_experiment(DONORS).read_text().strip()
    sizes = [file.stat().st_size for file in paths.experiment(DONORS, key).rglob("*")]
    reports = sorted(paths.output.glob("reports/*/report.html"))
    return {"bytes": sum(sizes), "report_bytes": reports[-1].stat().st_size}


def main() -> int:
    """Reads the command line, measures, writes and prints; 1 after one clear line if it fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale.donors", description=__doc__)
    parser.add_argument("--tiles", type=int, default=14_749)
    parser.add_argument("--shape", type=int, nargs=2, default=FULL_TILE, help="Y and X of a tile.")
    parser.add_argument("--folder", type=Path, required=True, help="For the study; must be new.")
    parser.add_argument("--out", type=Path, default=Path("scale-donors.json"))
    options = parser.parse_args()
    try:
        check_disk(options.folder, [2 * options.tiles])
        folder, shape = options.folder.absolute() / str(options.tiles), tuple(options.shape)
        study_path = make_study(folder, options.tiles, shape)
        add_traits(study_path)
        figures = measure_donors(study_path)
    except SomaflowError as error:
        print(f"tests.scale.donors: {error}", file=sys.stderr)
        return 1
    content = json.dumps(
        {"machine": describe_machine(), "tiles": options.tiles, "shape": shape, **figures}
    )
    write_text(options.out, content + "\n")
    print(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
