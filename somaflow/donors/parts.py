"""The tables that donor statistics start from, each written once under the key of its content.

Enters: tile files and committed cells. Leaves: tile quality, in parts of `PART_TILES` tiles, and
tile features, a file a recipe. Refuses nothing: a tile that cannot be measured is a row that says
why, and does not pass.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from somaflow.donors.tile_features import measure_tile_features
from somaflow.errors import SomaflowError
from somaflow.files import write_bytes
from somaflow.keys import content_key, describe_tiles, library_versions
from somaflow.ledger import read_records
from somaflow.paths import RunPaths
from somaflow.phenotypes import MIXTURE, call_positive, fit_mixtures
from somaflow.schema import CELLS, DONOR_PART
from somaflow.stamps import encode_table, read_table
from somaflow.tiles import read_tile
from somaflow.tiles.quality import QualityLimits, judge_tiles, measure_quality

PART_TILES = 256
_BLANK_PX = 16
_TILE_COLUMNS = ["tile_id", "donor", "marker", "region"]
_CELL_COLUMNS = [
    *("tile_id", "donor", "marker", "area_px", "centroid_y_px", "centroid_x_px"),
    *("eccentricity", "solidity", "marker_mean"),
]


@dataclass(frozen=True)
class QualityPart:
    """Tiles that one task measures.

    Attributes:
        key: hash of the tiles by content.
        tiles: rows of the tile table.
    """

    key: str
    tiles: pd.DataFrame


def plan_quality(
    tiles: pd.DataFrame, fingerprints: Mapping[str, str], pixel_offset: int
) -> list[QualityPart]:
    """The usable tiles in parts, by tile_id.

    Args:
        tiles: tile table.
        fingerprints: sha256 of each file that it names, from `keys.fingerprint_files`.
        pixel_offset: subtracted from every pixel.
    """
    usable = tiles[tiles.status == "ok"].sort_values("tile_id", ignore_index=True)
    parts = [usable.iloc[start : start + PART_TILES] for start in range(0, len(usable), PART_TILES)]
    return [
        QualityPart(_quality_key(part, fingerprints, pixel_offset), part.reset_index(drop=True))
        for part in parts
    ]


def _quality_key(part: pd.DataFrame, fingerprints: Mapping[str, str], pixel_offset: int) -> str:
    return content_key(
        "tile-quality",
        tiles=describe_tiles(part, fingerprints),
        pixel_offset=pixel_offset,
        versions=library_versions("numpy"),
    )


def write_quality(tiles: pd.DataFrame, pixel_offset: int, target: Path) -> int:
    """Measures tiles and writes a row each; returns how many could not be measured.

    Args:
        tiles: rows of the tile table.
        pixel_offset: subtracted from every pixel.
        target: parquet file; columns of `measure_quality`, `_TILE_COLUMNS`, and `problem`.
    """
    measured: Iterable[Any] = (_measure(row, pixel_offset) for row in tiles.itertuples())
    measures = measure_quality(np.zeros((2, _BLANK_PX, _BLANK_PX), np.uint8))
    table = pd.DataFrame(list(measured), columns=[*_TILE_COLUMNS, *measures, "problem"])
    write_bytes(target, encode_table(DONOR_PART, table))
    return int((table.problem != "").sum())


def _measure(row: Any, pixel_offset: int) -> dict[str, Any]:
    place = {name: getattr(row, name) for name in _TILE_COLUMNS}
    try:
        image = read_tile(row, pixel_offset=pixel_offset)
        return {**place, **measure_quality(image), "problem": ""}
    except (SomaflowError, ValueError, OSError) as error:
        # Counted and shown: judge_tiles lets no such tile pass.
        return {**place, "problem": f"{type(error).__name__}: {error}".splitlines()[0]}


def read_quality(
    paths: RunPaths, parts: Sequence[QualityPart], limits: QualityLimits
) -> pd.DataFrame:
    """Quality of all tiles, a row each, judged by the limits."""
    files = [paths.donor_part("tile-quality", part.key) for part in parts]
    table = pd.concat([read_table(DONOR_PART, file) for file in files], ignore_index=True)
    judged = judge_tiles(table, limits)
    judged["why"] = judged.problem.where(judged.problem != "", judged.why)
    return judged.drop(columns="problem")


def features_key(
    inference: str, ledger: str, quality: Sequence[QualityPart], settings: Mapping[str, Any]
) -> str:
    """Key of the tile features of one inference.

    Args:
        inference: its key.
        ledger: digest of what is committed of it, of `digest_records`.
        quality: parts of the tile quality.
        settings: phenotypes, pixel size and quality limits.
    """
    return content_key(
        "tile-features",
        inference=inference,
        ledger=ledger,
        quality=[part.key for part in quality],
        settings=dict(settings),
        versions=library_versions("numpy", "scipy", "pandas"),
    )


def write_tile_features(
    paths: RunPaths,
    key: str,
    quality: pd.DataFrame,
    phenotypes: Sequence[str],
    pixel_size_um: float | None,
    target: Path,
    mixtures_target: Path,
) -> int:
    """Writes one row a segmented tile of an inference; returns the number of its cells.

    Args:
        paths: of the study.
        key: of the inference; only what is committed counts.
        quality: of all tiles, from `read_quality`.
        phenotypes: rules by which cells are positive.
        pixel_size_um: side of a pixel, None = unknown.
        target: parquet file, written last.
        mixtures_target: parquet file: the mixture of each donor and marker, and why there is none.
    """
    records = read_records(paths, key)
    segmented = {
        tile.tile_id for record in records for tile in record.tiles if not tile.quarantined
    }
    files = [paths.cells(key, record.shard) for record in records]
    tables = [read_table(CELLS, file, columns=_CELL_COLUMNS) for file in files]
    own = quality[quality.tile_id.isin(segmented)].reset_index(drop=True)
    cells = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    cells = cells[cells.tile_id.isin(own.tile_id)].reset_index(drop=True)
    passing = own.tile_id[own.passes]
    mixtures = fit_mixtures(
        cells[cells.tile_id.isin(passing)] if MIXTURE in phenotypes else cells[:0]
    )
    write_bytes(mixtures_target, encode_table(DONOR_PART, mixtures))
    positive = call_positive(cells, own, phenotypes, mixtures)
    features = measure_tile_features(cells, own, positive, pixel_size_um)
    write_bytes(target, encode_table(DONOR_PART, features))
    return len(cells)


def digest_records(paths: RunPaths, key: str) -> str:
    """Changes with every tile that is committed, or quarantined, of an inference."""
    records = read_records(paths, key)
    content = [(record.shard, record.cells_sha256, len(record.quarantined)) for record in records]
    return hashlib.sha256(repr(content).encode()).hexdigest()
