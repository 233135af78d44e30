"""What a study has left on disk, gathered once for all parts of its report.

Enters: a study. Leaves: its tiles, splits, pages and inferences, as far as they are there; what
cannot be read becomes a line among the problems, and the report goes on without it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from somaflow.errors import SomaflowError
from somaflow.experiments.results import Results, read_results
from somaflow.ledger import ShardRecord, read_plan, read_records, read_run
from somaflow.schema import PREPARED, RECIPE, SPLITS, TILES, Kind, check_stamp
from somaflow.stamps import read_table
from somaflow.status import InferenceStatus, current_experiments, inference_status
from somaflow.study import Study
from somaflow.training import is_trained


@dataclass(frozen=True)
class Inferred:
    """One inference: its plan, what is committed, and what it was made with."""

    key: str
    status: InferenceStatus
    run: dict[str, Any]
    plan: pd.DataFrame
    records: list[ShardRecord]

    @property
    def tiles(self) -> pd.DataFrame:
        """A row a committed tile: tile_id, donor, marker, region, n_cells, quarantined."""
        rows = [
            (tile.tile_id, tile.n_cells, tile.quarantined)
            for record in self.records
            for tile in record.tiles
        ]
        done = pd.DataFrame(rows, columns=["tile_id", "n_cells", "quarantined"])
        return self.plan[["tile_id", "donor", "marker", "region"]].merge(done, on="tile_id")

    @property
    def weights(self) -> str:
        """Checksums of all weights it used, shortened."""
        recipe = self.run.get("recipe", {})
        used = [recipe, *recipe.get("per_marker", {}).values()]
        return ", ".join(dict.fromkeys(short(part.get("weights_sha256")) for part in used))


@dataclass
class Evidence:
    """Everything that a report is made from."""

    study: Study
    tiles: pd.DataFrame | None = None
    splits: dict[str, Any] | None = None
    prepared: pd.DataFrame | None = None
    """A row a labelled tile with its split; of the newest preparation."""
    prepared_key: str = ""
    pages: dict[str, Results] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    """Of the pages, by name of the experiment."""
    inferences: list[Inferred] = field(default_factory=list)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Recipe files that experiments made, by name."""
    trainings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Records of finished trainings, by key."""
    unfinished: list[Path] = field(default_factory=list)
    """Folders of trainings that have not come to their end."""
    problems: list[str] = field(default_factory=list)
    """A line for each file that could not be read."""


def gather(study: Study) -> Evidence:
    """Reads what there is of a study; needs no server, no tile and no model."""
    paths, found = study.paths, Evidence(study)
    found.tiles = _read_parquet(TILES, paths.tiles, found)
    found.splits = _read_yaml(SPLITS, paths.splits, found)
    _read_prepared(found)
    for name, folder in current_experiments(paths).items():
        try:
            found.pages[name], found.folders[name] = read_results(folder), folder
        except SomaflowError as error:
            found.problems.append(f"{name}: {error}")
    for key in paths.inference_keys():
        try:
            found.inferences.append(_read_inference(study, key))
        except SomaflowError as error:
            found.problems.append(f"inference {key}: {error}")
    for path in sorted((paths.output / "recipes").glob("*.yaml")):
        if content := _read_yaml(RECIPE, path, found):
            found.recipes[path.stem] = content
    for folder in sorted(p for p in (paths.output / "checkpoints").glob("*") if p.is_dir()):
        _read_training(folder, found)
    return found


def short(sha256: object) -> str:
    """A checksum as people compare it: its first 12 digits."""
    return str(sha256)[:12] if sha256 else "not recorded"


def _read_training(folder: Path, found: Evidence) -> None:
    try:
        if not is_trained(folder):
            found.unfinished.append(folder)
            return
    except SomaflowError as error:
        found.problems.append(f"training {folder.name}: {error}")
        return
    found.trainings[folder.name] = _read_json(folder / "training.json", found)


def _read_inference(study: Study, key: str) -> Inferred:
    paths = study.paths
    return Inferred(
        key,
        inference_status(paths, key),
        read_run(paths, key),
        read_plan(paths, key),
        read_records(paths, key),
    )


def _read_prepared(found: Evidence) -> None:
    files = (found.study.paths.output / "prepared").glob("*/prepared.parquet")
    newest = sorted(files, key=lambda path: path.stat().st_mtime)
    if newest:
        found.prepared = _read_parquet(PREPARED, newest[-1], found)
        found.prepared_key = newest[-1].parent.name


def _read_parquet(kind: Kind, path: Path, found: Evidence) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        return read_table(kind, path)
    except (OSError, ValueError) as error:
        found.problems.append(f"{path} cannot be read: {error}")
        return None


def _read_yaml(kind: Kind, path: Path, found: Evidence) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            return None
        check_stamp(kind, path, content)
        return content
    except (OSError, ValueError, yaml.YAMLError) as error:
        found.problems.append(f"{path} cannot be read: {error}")
        return None


def _read_json(path: Path, found: Evidence) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found.problems.append(f"{path} cannot be read: {error}")
        return {}
