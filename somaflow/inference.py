"""Segments all tiles, shard by shard: labels, then cells, then the commit record.

Enters a tile table, a recipe and a segmenter; leaves label arrays, cell files and a ledger. A tile
that cannot be read or segmented is tried again, then set aside with its reason; its shard still
commits. A full or read-only disk stops the shard before its record, so nothing half-written counts.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from somaflow import timing
from somaflow.claims import claim_shard
from somaflow.engine import Job, Profile, RunsJobs, TileDone
from somaflow.engine import set_aside as set_aside_tile
from somaflow.engine.profile import COMMIT, LOAD
from somaflow.engine.work import TILE_COLUMNS, Row
from somaflow.errors import InferenceError
from somaflow.evaluation.scoring import describe_recipe
from somaflow.features import measure_cells
from somaflow.files import sweep_temporaries, write_bytes
from somaflow.keys import content_key, describe_tiles, library_versions
from somaflow.labelstore import ShardEncoder, create_arrays
from somaflow.ledger import (
    ShardRecord,
    plan_shards,
    read_plan,
    verified_record,
    write_plan,
    write_record,
)
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.schema import CELLS
from somaflow.stamps import encode_table


@dataclass(frozen=True)
class Inference:
    """One planned inference.

    Attributes:
        key: hash of tiles by content, recipe, weights and versions.
        n_tiles: tiles in the plan.
        n_shards: shards in the plan.
    """

    key: str
    n_tiles: int
    n_shards: int


def plan_inference(
    paths: RunPaths,
    tiles: pd.DataFrame,
    recipe: Recipe,
    weights_sha256: Callable[[str], str],
    fingerprints: Mapping[str, str],
    shard_tiles: int,
    pixel_offset: int = 0,
    writes: bool = True,
) -> Inference:
    """Plans the inference, or finds the plan of the same work, and prepares its folders.

    Args:
        paths: of the study.
        tiles: tile table; only rows with status "ok" are segmented.
        recipe: thresholds and gate.
        weights_sha256: gives the checksum of a model's weights, as `segmenter.weights_sha256`.
        fingerprints: sha256 of each file the table names, from `keys.fingerprint_files`.
        shard_tiles: tiles per shard.
        pixel_offset: subtracted from every pixel.
        writes: False only names the inference: nothing is planned or prepared on the disk.

    Raises:
        OutputError: if the output folder cannot be written.
    """
    plan = plan_shards(tiles[tiles.status == "ok"], shard_tiles)
    described = _describe(plan, recipe, weights_sha256, fingerprints, shard_tiles, pixel_offset)
    key = content_key("infer", **described)
    inference = Inference(key=key, n_tiles=len(plan), n_shards=int(plan["shard"].nunique()))
    if not writes:
        return inference
    run = {
        "n_tiles": len(plan),
        "recipe_name": recipe.name,
        **{name: value for name, value in described.items() if name != "tiles"},
    }
    if not paths.plan(key).exists():
        write_plan(paths, key, plan, run)
    create_arrays(paths, key, plan, shard_tiles)
    for folder in (paths.labels(key), paths.cells_folder(key), paths.ledger(key)):
        sweep_temporaries(folder)
    return inference


def infer_shard(
    paths: RunPaths,
    key: str,
    shard: int,
    recipe: Recipe,
    engine: RunsJobs,
    shard_tiles: int,
    pixel_offset: int = 0,
    retry_quarantined: bool = False,
    set_aside: Mapping[str, str] | None = None,
    before_tile: Callable[[], None] = lambda: None,
    nearly_done: Callable[[], None] = lambda: None,
    profile: Profile | None = None,
) -> ShardRecord:
    """Segments one shard and commits it; a shard that is done already is only looked up.

    Args:
        paths: of the study.
        key: of the inference.
        shard: number of the shard in the plan.
        recipe: thresholds and gate, possibly a set per marker.
        engine: segments the tiles; asked only if there is work.
        shard_tiles: tiles per shard.
        pixel_offset: subtracted from every pixel.
        retry_quarantined: do a finished shard again if tiles of it were quarantined.
        set_aside: reasons, by tile_id, to quarantine tiles without trying them.
        before_tile: called before each tile; what it raises leaves the shard uncommitted.
        nearly_done: called once there are no more tiles left than the engine does at a time; from
            then on it has room for another shard's.
        profile: is told where the time went; of a shard that was done already, nothing.

    Raises:
        OutputError: if the disk is full or not writable; nothing is committed.
        InferenceError: if the model fails on every tile of the shard.
    """
    done = _find_done(paths, key, shard, retry_quarantined)
    if done is not None:
        return done
    with claim_shard(paths, key, shard, before_tile):
        done = _find_done(paths, key, shard, retry_quarantined)  # by whom we waited for
        if done is not None:
            return done
        started = time.perf_counter()
        rows = read_plan(paths, key, shard)
        sets = {marker: recipe.for_marker(marker) for marker in rows["marker"].unique()}
        with timing.collect() as seconds, timing.stage(LOAD):
            devices = [engine.prepare(chosen) for chosen in sets.values()]
        before = engine.device_seconds()
        first = rows.iloc[0]
        encoder = ShardEncoder(shard_tiles, int(first.height_px), int(first.width_px))
        results: list[TileDone] = []
        last_ones = max(len(rows) - engine.n_workers, 0)
        for done_tile in _run(rows, sets, engine, pixel_offset, set_aside or {}, before_tile):
            if len(results) == last_ones:
                nearly_done()
            results.append(done_tile)
            encoder.add_encoded(done_tile.encoded)
        _require_some_success(results, shard)
        with timing.collect() as last, timing.stage(COMMIT):
            record = _commit(paths, key, shard, rows, results, encoder.finish(), devices[0])
        if profile is not None:
            for part in (last, *(result.seconds for result in results)):
                timing.add(seconds, part)
            profile.add(_profile(engine, before, len(results), started, seconds))
        return record


def _profile(
    engine: RunsJobs, before: timing.Seconds, n_tiles: int, started: float, stages: timing.Seconds
) -> Profile:
    wall_s, device = engine.stopwatch.lap(started, before, engine.device_seconds())
    worker_s = wall_s * engine.n_workers
    return Profile(n_tiles, wall_s, worker_s, stages, device, set(engine.notes()))


def _run(
    rows: pd.DataFrame,
    sets: Mapping[str, Recipe],
    engine: RunsJobs,
    pixel_offset: int,
    reasons: Mapping[str, str],
    before_tile: Callable[[], None],
) -> Iterator[TileDone]:
    """What became of each tile, in the order of the plan."""

    def ask() -> Iterator[Job]:
        for row in _as_rows(rows):
            if row["tile_id"] not in reasons:
                before_tile()
                yield Job(row, sets[row["marker"]], pixel_offset)

    tried = engine.run(ask())
    for row in _as_rows(rows):
        reason = reasons.get(row["tile_id"])
        yield next(tried) if reason is None else set_aside_tile(row, reason)


def _as_rows(plan: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in plan.to_dict("records")]


def _find_done(
    paths: RunPaths, key: str, shard: int, retry_quarantined: bool
) -> ShardRecord | None:
    done = verified_record(paths, key, shard)
    return None if done is not None and retry_quarantined and done.quarantined else done


def _commit(
    paths: RunPaths,
    key: str,
    shard: int,
    rows: pd.DataFrame,
    results: list[TileDone],
    encoded: bytes,
    device: str,
) -> ShardRecord:
    """Writes labels, then cells, then the record."""
    array, index = str(rows["array"].iloc[0]), int(rows["index"].iloc[0])
    labels_sha256 = write_bytes(paths.label_shard(key, array, index), encoded)
    cells = _collect_cells(results)
    cells_sha256 = write_bytes(paths.cells(key, shard), encode_table(CELLS, cells))
    record = ShardRecord(
        key=key,
        shard=shard,
        array=array,
        index=index,
        device=device,
        labels_sha256=labels_sha256,
        cells_sha256=cells_sha256,
        tiles=tuple(result.record for result in results),
    )
    write_record(paths, record)
    return record


def try_tile(
    paths: RunPaths, key: str, tile_id: str, recipe: Recipe, engine: RunsJobs, pixel_offset: int = 0
) -> None:
    """Segments and measures one tile and forgets the result, to see whether that can be survived.

    A tile that only fails is not this function's matter: `infer_shard` sets it aside.
    """
    plan = read_plan(paths, key)
    (row,) = _as_rows(plan[plan["tile_id"] == tile_id])
    for _ in engine.run([Job(row, recipe.for_marker(row["marker"]), pixel_offset)]):
        pass


def _require_some_success(results: list[TileDone], shard: int) -> None:
    """A model that fails on every tile is broken; quarantining the study would hide it."""
    failed = [result for result in results if result.segmenter_failed]
    if len(failed) == len(results) and len(results) > 1:
        raise InferenceError(
            f"a model must segment some tile of a shard, all {len(results)} tiles of shard {shard} "
            f"failed, the first with {failed[0].record.quarantined}; check the model and the device"
        )


def _collect_cells(results: list[TileDone]) -> pd.DataFrame:
    measured = [result.cells for result in results if result.cells is not None]
    filled = [cells for cells in measured if len(cells)] or measured[:1]
    if filled:
        return pd.concat(filled, ignore_index=True)
    empty = measure_cells(np.zeros((1, 1), np.uint32), np.zeros((2, 1, 1), np.uint8))
    for place, column in enumerate(TILE_COLUMNS):
        empty.insert(place, column, pd.Series(dtype="str"))
    return empty


def _describe(
    plan: pd.DataFrame,
    recipe: Recipe,
    weights_sha256: Callable[[str], str],
    fingerprints: Mapping[str, str],
    shard_tiles: int,
    pixel_offset: int,
) -> dict[str, Any]:
    """Everything that shapes the labels and cells, as JSON; tile ids stand for their place."""
    return {
        "tiles": describe_tiles(plan, fingerprints),
        "recipe": describe_recipe(recipe, weights_sha256),
        "shard_tiles": shard_tiles,
        "pixel_offset": pixel_offset,
        "versions": library_versions("cellpose", "torch", "numpy", "zarr", "pyarrow"),
    }
