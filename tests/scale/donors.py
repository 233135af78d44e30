"""From the cells of all tiles to donor statistics: what `e5-donors` takes at full size.

A second recipe segments the same tiles first, so that two segmentations are compared as in a study.
"""

from pathlib import Path
from typing import Any

import yaml

from somaflow.files import write_text
from somaflow.paths import DONORS
from somaflow.study import load_study
from somaflow.synthetic.donors import draw_donors
from somaflow.synthetic.traits import draw_traits
from tests.scale.study import N_DONORS
from tests.scale.watch import Watched, run_watched

_SECOND = {"name": "stand-in-large", "model": "threshold", "min_size_px": 90}


def add_traits(study_path: Path) -> None:
    """Gives a study for scale a trait table of its donors and a second recipe to compare with."""
    traits = draw_traits(0, draw_donors(0, N_DONORS))
    write_text(study_path.parent / "traits.csv", traits.to_csv(index=False))
    content = yaml.safe_load(study_path.read_text())
    content["recipes"].append(_SECOND)
    content |= {"traits": "traits.csv", "compare_with": [_SECOND["name"]]}
    write_text(study_path, yaml.safe_dump(content, sort_keys=False))


def measure_donors(study_path: Path) -> dict[str, Any]:
    """Segments with the second recipe, then runs e5-donors and runs it again; their figures."""
    add_traits(study_path)
    run_watched("run", "e5-inference", study_path)
    run = run_watched("run", "e5-donors", study_path)
    again = run_watched("run", "e5-donors", study_path)
    return {
        "wall_s": run.wall_s,
        **_find_phases(run),
        "again_s": again.wall_s,
        "memory": {f"{role}_mb": taken.peak_mb for role, taken in run.taken.items()},
        "cpu": {f"{role}_s": taken.cpu_s for role, taken in run.taken.items()},
        **_measure_results(study_path),
    }


def _find_phases(run: Watched) -> dict[str, float]:
    """When tile quality, tile features and statistics were done, seconds since the start."""
    ends = {}
    for name, words in (
        ("quality", "quality of tiles"),
        ("features", "tile features of"),
        ("statistics", "statistics of donors"),
    ):
        when = [when_s for when_s, line in run.lines if words in line and "Finished" in line]
        ends[f"{name}_done_s"] = max(when, default=0.0)
    return ends


def _measure_results(study_path: Path) -> dict[str, int]:
    paths = load_study(study_path).paths
    key = paths.current_experiment(DONORS).read_text().strip()
    sizes = [file.stat().st_size for file in paths.experiment(DONORS, key).rglob("*")]
    reports = sorted(paths.output.glob("reports/*/report.html"))
    return {
        "bytes": sum(sizes),
        "files": len(sizes),
        "report_bytes": reports[-1].stat().st_size,
    }
