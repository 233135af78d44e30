"""One pass over labelled tiles that many gates or thresholds are then scored from.

Enters: prepared tiles, a recipe, its segmenter. Leaves: tables in a folder; the one written last
says that the folder is whole. Nothing here chooses anything.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from somaflow.evaluation.candidates import describe_cells
from somaflow.evaluation.scoring import describe_recipe, describe_tile, read_prepared
from somaflow.evaluation.sweep import sweep_thresholds
from somaflow.files import write_bytes
from somaflow.gating import measure_gate_pairs
from somaflow.keys import content_key, library_versions
from somaflow.recipes import Recipe
from somaflow.schema import SWEEP
from somaflow.segmenter import Segmenter
from somaflow.settings import ThresholdGrid
from somaflow.stamps import encode_table, read_table

Load = Callable[[Recipe], Segmenter]
GATE_TABLES = ("cells", "tiles")
THRESHOLD_TABLES = ("reference-cells", "candidates", "counts")


def sweep_key(
    step: str, prepared_key: str, recipe: Recipe, weights_sha256: Callable[[str], str], **parts: Any
) -> str:
    """Key of the tables of one recipe.

    Args:
        step: `gate` or `sweep`.
        prepared_key: of the tiles.
        recipe: what segments them.
        weights_sha256: gives the checksum of a model's weights.
        **parts: grid, splits and IoU threshold, as JSON.
    """
    return content_key(
        step,
        prepared=prepared_key,
        recipe=describe_recipe(recipe, weights_sha256),
        versions=library_versions("cellpose", "torch", "numpy"),
        **parts,
    )


def write_gate_tables(
    tiles: pd.DataFrame,
    folder: Path,
    recipe: Recipe,
    load: Load,
    quantiles: Sequence[float],
    iou_threshold: float,
    target: Path,
) -> None:
    """Segments the tiles without a gate and writes what every gate can be scored from.

    Args:
        tiles: rows of `prepared.parquet`.
        folder: the folder they lie in.
        recipe: its gates are left out.
        load: gives the segmenter of one set of the recipe.
        quantiles: marker quantiles that gates ask for.
        iou_threshold: overlap from which a predicted cell counts as found.
        target: gets `cells.parquet`, then `tiles.parquet`.
    """
    measured = []
    for tile in _open_tiles(tiles, folder, recipe, load):
        labels = tile.segmenter.segment([tile.image], tile.recipe)[0]
        own = tile.row._asdict()
        measured.append(
            measure_gate_pairs(tile.reference, labels, tile.image, quantiles, iou_threshold, own)
        )
    tables = {
        "cells": pd.concat([one.cells for one in measured], ignore_index=True),
        "tiles": pd.concat([one.tiles for one in measured], ignore_index=True),
    }
    _write(tables, GATE_TABLES, target)


def write_threshold_tables(
    tiles: pd.DataFrame,
    folder: Path,
    recipe: Recipe,
    load: Load,
    grid: ThresholdGrid,
    iou_threshold: float,
    target: Path,
) -> None:
    """Runs the net once a tile and writes counts of every setting, and what became of each cell.

    Args:
        tiles: rows of `prepared.parquet`.
        folder: the folder they lie in.
        recipe: its thresholds are replaced by the grid's in the counts; gates are left out.
        load: gives the segmenter of one set of the recipe.
        grid: thresholds to try.
        iou_threshold: overlap from which a predicted cell counts as found.
        target: gets `reference-cells.parquet`, `candidates.parquet`, then `counts.parquet`.
    """
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in THRESHOLD_TABLES}
    for tile in _open_tiles(tiles, folder, recipe, load):
        chosen, segmenter = tile.recipe, tile.segmenter
        seen = segmenter.predict(tile.image, chosen.channels, chosen.normalisation)
        counts = sweep_thresholds(segmenter, seen, tile.reference, grid, iou_threshold)
        cells, candidates = describe_cells(segmenter, seen, tile.reference, chosen, iou_threshold)
        own = describe_tile(tile.row, recipe.name)
        for name, table in zip(THRESHOLD_TABLES, (cells, candidates, counts), strict=True):
            tables[name].append(table.assign(**own))
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    _write(joined, THRESHOLD_TABLES, target)


@dataclass(frozen=True)
class _OpenTile:
    """A prepared tile, and what its marker is segmented with: no gate, for all cells count."""

    row: Any
    recipe: Recipe
    segmenter: Segmenter
    image: NDArray[Any]
    reference: NDArray[Any]


def _open_tiles(
    tiles: pd.DataFrame, folder: Path, recipe: Recipe, load: Load
) -> Iterator[_OpenTile]:
    rows: Iterable[Any] = tiles.itertuples()
    for row in rows:
        chosen = recipe.for_marker(row.marker).model_copy(update={"gate": None})
        yield _OpenTile(row, chosen, load(chosen), *read_prepared(row, folder))


def is_swept(target: Path, names: Sequence[str]) -> bool:
    """Whether the folder is whole: the table that is written last is there."""
    return _path(target, names[-1]).is_file()


def read_tables(target: Path, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The tables of a whole folder by name."""
    return {name: read_table(SWEEP, _path(target, name)) for name in names}


def _write(tables: dict[str, pd.DataFrame], names: Sequence[str], target: Path) -> None:
    for name in names:
        write_bytes(_path(target, name), encode_table(SWEEP, tables[name]))


def _path(target: Path, name: str) -> Path:
    return target / f"{name}.parquet"
