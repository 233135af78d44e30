"""How far a study is, read from its files alone; needs no server."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from somaflow.experiments.results import SUMMARY
from somaflow.ledger import read_plan, read_records
from somaflow.paths import RunPaths
from somaflow.study import Study
from somaflow.training import is_trained, read_history


@dataclass(frozen=True)
class InferenceStatus:
    """How far one inference is."""

    key: str
    tiles: int
    tiles_done: int
    shards: int
    shards_done: int
    cells: int
    quarantined: tuple[tuple[str, str], ...]


def inference_status(paths: RunPaths, key: str) -> InferenceStatus:
    """Counts of the plan and of the commit records of one inference."""
    plan = read_plan(paths, key)
    records = read_records(paths, key)
    return InferenceStatus(
        key=key,
        tiles=len(plan),
        tiles_done=sum(len(record.tiles) for record in records),
        shards=int(plan["shard"].nunique()),
        shards_done=len(records),
        cells=sum(record.n_cells for record in records),
        quarantined=tuple(
            (tile.tile_id, tile.quarantined) for record in records for tile in record.quarantined
        ),
    )


def describe_status(study: Study) -> str:
    """What is done, what is not, and where it lies, as lines of text."""
    paths = study.paths
    lines = [f"Study {study.name}, outputs in {paths.output}"]
    lines += _describe_tiles(paths)
    lines += _describe_trainings(paths)
    for name, folder in current_experiments(paths).items():
        lines.append(f"{name:<16} {folder / SUMMARY}")
    statuses = [inference_status(paths, key) for key in paths.inference_keys()]
    for status in statuses:
        lines.append(
            f"inference        {status.key}: {status.tiles_done} of {status.tiles} tiles, "
            f"{status.shards_done} of {status.shards} shards, {status.cells} cells, "
            f"{len(status.quarantined)} quarantined"
        )
        lines += [f"                 {tile_id}: {reason}" for tile_id, reason in status.quarantined]
        lines.append(f"labels           {paths.labels(status.key)}")
        lines.append(f"cells            {paths.cells_folder(status.key)}")
    if not statuses:
        lines.append("inference        none yet; `somaflow run e5-inference STUDY`")
    return "\n".join(lines)


def describe_duration(seconds: float) -> str:
    """A duration in words, for example "2 h 05 min"; two units are enough."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    days, rest_h = divmod(hours, 24)
    if days:
        return f"{days} d {rest_h:02} h"
    if hours:
        return f"{hours} h {rest_min:02} min"
    return f"{minutes} min {rest_s:02} s" if minutes else f"{rest_s} s"


def current_experiments(paths: RunPaths) -> dict[str, Path]:
    """Folder of the current page of each experiment that has run, in the order of the data."""
    found = {}
    for pointer in sorted((paths.output / "experiments").glob("*/current.txt")):
        name = pointer.parent.name
        found[name] = paths.experiment(name, pointer.read_text(encoding="utf-8").strip())
    return found


def _describe_trainings(paths: RunPaths) -> list[str]:
    """How many trainings are done, and how far those are that are not."""
    folders = sorted(path for path in (paths.output / "checkpoints").glob("*") if path.is_dir())
    if not folders:
        return []
    open_ones = [folder for folder in folders if not is_trained(folder)]
    n_done = len(folders) - len(open_ones)
    lines = [f"trainings        {n_done} done, {len(open_ones)} not finished"]
    for folder in open_ones:
        history = read_history(folder)
        epoch = int(history.epoch.max()) if len(history) else 0
        lines.append(f"                 {folder}: {epoch} epochs so far; run its flow again")
    return lines


def _describe_tiles(paths: RunPaths) -> list[str]:
    if not paths.tiles.exists():
        return ["tiles            not looked for yet; `somaflow run e0-prepare STUDY`"]
    tiles = pd.read_parquet(paths.tiles)
    counts = tiles.status.value_counts()
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"tiles            {len(tiles)} found: {words} ({paths.tiles})"]
    refused = tiles[tiles.status == "refused"]
    lines += [f"                 {row.tile_id}: {row.reason}" for row in refused.itertuples()]
    if paths.splits.exists():
        lines.append(f"splits           {paths.splits}")
    return lines
