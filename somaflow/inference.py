"""Segments all tiles, shard by shard: labels, then cells, then the commit record.

Enters a tile table, a recipe and a segmenter; leaves label arrays, cell files and a ledger. A tile
that cannot be read or segmented is tried again, then set aside with its reason; its shard still
commits. A full or read-only disk stops the shard before its record, so nothing half-written counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from somaflow.claims import claim_shard
from somaflow.errors import DeviceError, InferenceError, SomaflowError, TileError
from somaflow.evaluation.scoring import describe_recipe
from somaflow.features import measure_cells
from somaflow.files import sweep_temporaries, write_bytes
from somaflow.keys import content_key, describe_tiles, library_versions
from somaflow.labelstore import Labels, ShardEncoder, create_arrays
from somaflow.ledger import (
    ShardRecord,
    TileRecord,
    plan_shards,
    read_plan,
    verified_record,
    write_plan,
    write_record,
)
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe, Segments
from somaflow.schema import CELLS
from somaflow.stamps import encode_table
from somaflow.tiles import read_tile

ATTEMPTS = 2
_TILE_COLUMNS = ["tile_id", "donor", "marker", "region"]


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
    load: Callable[[Recipe], Segments],
    shard_tiles: int,
    pixel_offset: int = 0,
    retry_quarantined: bool = False,
    set_aside: Mapping[str, str] | None = None,
    before_tile: Callable[[], None] = lambda: None,
) -> ShardRecord:
    """Segments one shard and commits it; a shard that is done already is only looked up.

    Args:
        paths: of the study.
        key: of the inference.
        shard: number of the shard in the plan.
        recipe: thresholds and gate, possibly a set per marker.
        load: gives the segmenter of one set; called only if there is work.
        shard_tiles: tiles per shard.
        pixel_offset: subtracted from every pixel.
        retry_quarantined: do a finished shard again if tiles of it were quarantined.
        set_aside: reasons, by tile_id, to quarantine tiles without trying them.
        before_tile: called before each tile; what it raises leaves the shard uncommitted.

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
        rows = read_plan(paths, key, shard)
        sets = {marker: recipe.for_marker(marker) for marker in rows["marker"].unique()}
        segmenters = {marker: load(chosen) for marker, chosen in sets.items()}
        first = rows.iloc[0]
        encoder = ShardEncoder(shard_tiles, int(first.height_px), int(first.width_px))
        results = []
        for row in rows.itertuples():
            before_tile()
            reason = (set_aside or {}).get(str(row.tile_id), "")
            result, labels = (
                _set_aside(row, reason)
                if reason
                else _try_tile(row, segmenters[row.marker], sets[row.marker], pixel_offset)
            )
            results.append(result)
            encoder.add(labels)  # compressed at once: a full-size tile's labels are 5.8 MB
        _require_some_success(results, shard)
        device = next(iter(segmenters.values())).device
        return _commit(paths, key, shard, rows, results, encoder.finish(), device)


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
    results: "list[_TileResult]",
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
    paths: RunPaths,
    key: str,
    tile_id: str,
    recipe: Recipe,
    load: Callable[[Recipe], Segments],
    pixel_offset: int = 0,
) -> None:
    """Segments and measures one tile and forgets the result, to see whether that can be survived.

    A tile that only fails is not this function's matter: `infer_shard` sets it aside.
    """
    plan = read_plan(paths, key)
    rows: Iterable[Any] = plan[plan["tile_id"] == tile_id].itertuples()
    (row,) = rows
    chosen = recipe.for_marker(row.marker)
    _try_tile(row, load(chosen), chosen, pixel_offset)


@dataclass(frozen=True)
class _TileResult:
    record: TileRecord
    cells: pd.DataFrame | None
    segmenter_failed: bool = False


def _try_tile(
    row: Any, segmenter: Segments, recipe: Recipe, pixel_offset: int
) -> tuple[_TileResult, Labels]:
    """The tile's labels and cells, or, after `ATTEMPTS` failures, empty labels with the reason."""
    reason, segmenter_failed = "", False
    for _ in range(ATTEMPTS):
        try:
            image = read_tile(row, pixel_offset=pixel_offset)
            segmenter_failed = True
            return _measure_tile(row, image, segmenter.segment([image], recipe)[0])
        except DeviceError:
            raise  # the worker is at fault, not the tile
        except (SomaflowError, ValueError, RuntimeError, MemoryError, OSError) as error:
            # Counted and reported: the reason becomes the tile's row in the ledger.
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return _set_aside(row, reason, segmenter_failed)


def _set_aside(row: Any, reason: str, segmenter_failed: bool = False) -> tuple[_TileResult, Labels]:
    empty = np.zeros((int(row.height_px), int(row.width_px)), dtype=np.uint32)
    record = TileRecord(tile_id=row.tile_id, n_cells=0, quarantined=reason)
    return _TileResult(record, None, segmenter_failed), empty


def _measure_tile(row: Any, image: npt.NDArray[Any], labels: Labels) -> tuple[_TileResult, Labels]:
    expected = (int(row.height_px), int(row.width_px))
    if labels.shape != expected:
        raise TileError(
            f"labels must have the planned shape {expected}, got {labels.shape} for "
            f"{row.tile_id}; the file was changed since e0-prepare, run it again"
        )
    cells = measure_cells(labels, image)
    for place, column in enumerate(_TILE_COLUMNS):
        cells.insert(place, column, getattr(row, column))
    return _TileResult(TileRecord(tile_id=row.tile_id, n_cells=len(cells)), cells), labels


def _require_some_success(results: list[_TileResult], shard: int) -> None:
    """A model that fails on every tile is broken; quarantining the study would hide it."""
    failed = [result for result in results if result.segmenter_failed]
    if len(failed) == len(results) and len(results) > 1:
        raise InferenceError(
            f"a model must segment some tile of a shard, all {len(results)} tiles of shard {shard} "
            f"failed, the first with {failed[0].record.quarantined}; check the model and the device"
        )


def _collect_cells(results: list[_TileResult]) -> pd.DataFrame:
    measured = [result.cells for result in results if result.cells is not None]
    filled = [cells for cells in measured if len(cells)] or measured[:1]
    if filled:
        return pd.concat(filled, ignore_index=True)
    empty = measure_cells(np.zeros((1, 1), np.uint32), np.zeros((2, 1, 1), np.uint8))
    for place, column in enumerate(_TILE_COLUMNS):
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
