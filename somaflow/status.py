"""How far a study is, read from its files alone; needs no server."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from somaflow.ledger import read_plan, read_records
from somaflow.paths import RunPaths
from somaflow.study import Study


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
    for path in _newest_first(paths.output / "evaluations", "*.scores.tsv"):
        lines.append(f"scores       {path}")
        lines.append(f"overlays     {paths.overlays(path.name.split('.')[0])}")
    statuses = [inference_status(paths, key) for key in paths.inference_keys()]
    for status in statuses:
        lines.append(
            f"inference    {status.key}: {status.tiles_done} of {status.tiles} tiles, "
            f"{status.shards_done} of {status.shards} shards, {status.cells} cells, "
            f"{len(status.quarantined)} quarantined"
        )
        lines += [f"             {tile_id}: {reason}" for tile_id, reason in status.quarantined]
        lines.append(f"labels       {paths.labels(status.key)}")
        lines.append(f"cells        {paths.cells_folder(status.key)}")
    if not statuses:
        lines.append("inference    none yet; `somaflow run e5-inference STUDY`")
    return "\n".join(lines)


def read_scores(paths: RunPaths) -> pd.DataFrame:
    """Score tables of all evaluations, the newest first; empty where there is none."""
    tables = [
        pd.read_csv(path, sep="\t").assign(key=path.name.split(".")[0])
        for path in _newest_first(paths.output / "evaluations", "*.scores.tsv")
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _describe_tiles(paths: RunPaths) -> list[str]:
    if not paths.tiles.exists():
        return ["tiles        not looked for yet; `somaflow run e0-prepare STUDY`"]
    tiles = pd.read_parquet(paths.tiles)
    counts = tiles.status.value_counts()
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"tiles        {len(tiles)} found: {words} ({paths.tiles})"]
    refused = tiles[tiles.status == "refused"]
    lines += [f"             {row.tile_id}: {row.reason}" for row in refused.itertuples()]
    if paths.splits.exists():
        lines.append(f"splits       {paths.splits}")
    return lines


def _newest_first(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda path: (-path.stat().st_mtime_ns, path.name))
