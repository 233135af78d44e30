"""How far a study is, read from its files alone; needs no server."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from somaflow.clocks import describe_duration
from somaflow.experiments.results import SUMMARY
from somaflow.inventory import read_tiles
from somaflow.ledger import ShardRecord, read_plan, read_records
from somaflow.paths import RunPaths
from somaflow.releases import find_origin
from somaflow.study import Study
from somaflow.training import is_trained, read_history

_PACE_WINDOW_S = 600.0


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
    tiles_per_s: float | None
    """Rate of the last ten minutes in which shards were committed; None before the second one."""
    idle_s: float | None
    """Since the last shard was committed; None before the first one."""

    def pace(self) -> str:
        """How fast it is and how long the rest will take, in words; empty if there is no rest."""
        if self.shards_done == self.shards or self.idle_s is None:
            return ""
        last = f"last shard {describe_duration(self.idle_s)} ago"
        if self.idle_s > _PACE_WINDOW_S or self.tiles_per_s is None:
            return last
        left = describe_duration((self.tiles - self.tiles_done) / self.tiles_per_s)
        return f"{self.tiles_per_s:.3g} tiles/s, {left} left, {last}"


def inference_status(paths: RunPaths, key: str) -> InferenceStatus:
    """Counts of the plan and of the commit records of one inference."""
    plan = read_plan(paths, key)
    records = read_records(paths, key)
    tiles_per_s, idle_s = _measure_pace(paths, records)
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
        tiles_per_s=tiles_per_s,
        idle_s=idle_s,
    )


def _measure_pace(
    paths: RunPaths, records: Sequence[ShardRecord]
) -> tuple[float | None, float | None]:
    """Tiles a second, and seconds since the last commit, by when records were written."""
    commits = sorted(
        (paths.record(record.key, record.shard).stat().st_mtime, len(record.tiles))
        for record in records
    )
    if not commits:
        return None, None
    newest = commits[-1][0]
    recent = [commit for commit in commits if newest - commit[0] <= _PACE_WINDOW_S]
    # The first commit's tiles were segmented before it.
    n_tiles, elapsed_s = sum(count for _, count in recent[1:]), newest - recent[0][0]
    rate = n_tiles / elapsed_s if n_tiles and elapsed_s > 0 else None
    return rate, max(0.0, time.time() - newest)


def describe_status(study: Study) -> str:
    """What is done, what is not, and where it lies, as lines of text."""
    paths = study.paths
    lines = [f"Study {study.name}, outputs in {paths.output}"]
    origin = find_origin(paths)
    lines += [f"versions         {line}" for line in origin.describe()]
    if origin.problems:
        lines += ["not read         this somaflow cannot use these outputs:"]
        return "\n".join([*lines, *(f"                 {line}" for line in origin.problems)])
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
        if pace := status.pace():
            lines.append(f"                 {pace}")
        lines += [f"                 {tile_id}: {reason}" for tile_id, reason in status.quarantined]
        lines.append(f"labels           {paths.labels(status.key)}")
        lines.append(f"cells            {paths.cells_folder(status.key)}")
    if not statuses:
        lines.append("inference        none yet; `somaflow run e5-inference STUDY`")
    if (report := paths.newest_report()) is not None:
        lines.append(f"report           {report}")
    return "\n".join(lines)


def current_experiments(paths: RunPaths) -> dict[str, Path]:
    """Folder of the current page of each experiment that has run, in the order of the data."""
    return {
        name: paths.experiment(name, paths.current_experiment(name).read_text("utf-8").strip())
        for name in paths.experiments()
    }


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
    tiles = read_tiles(paths)
    counts = tiles.status.value_counts()
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"tiles            {len(tiles)} found: {words} ({paths.tiles})"]
    refused = tiles[tiles.status == "refused"]
    lines += [f"                 {row.tile_id}: {row.reason}" for row in refused.itertuples()]
    if paths.splits.exists():
        lines.append(f"splits           {paths.splits}")
    return lines
