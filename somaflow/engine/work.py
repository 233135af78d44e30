"""What is done with one tile: read, segment, measure, encode; or set aside with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from somaflow import timing
from somaflow.engine.memory import check_memory
from somaflow.errors import DeviceError, ModelError, SomaflowError, TileError
from somaflow.features import measure_cells
from somaflow.labelstore import Labels, encode_labels
from somaflow.ledger import TileRecord
from somaflow.recipes import Recipe, Segments
from somaflow.tiles import read_tile

ATTEMPTS = 2
TILE_COLUMNS = ("tile_id", "donor", "marker", "region")
"""Columns of the tile table that each row of the cell table repeats."""

Row = Mapping[str, Any]
"""A row of an inference's plan, by column."""


@dataclass(frozen=True, eq=False)
class TileDone:
    """What became of a tile."""

    record: TileRecord
    cells: pd.DataFrame | None
    """A row a cell; None of a tile that was set aside."""
    encoded: bytes
    """Its labels as a chunk of the label array."""
    seconds: timing.Seconds
    """By stage."""
    segmenter_failed: bool = False
    """Set aside though it could be read."""


def segment_tile(row: Row, segmenter: Segments, recipe: Recipe, pixel_offset: int) -> TileDone:
    """The tile's labels and cells, or, after `ATTEMPTS` failures, empty labels with the reason.

    Args:
        row: of the plan.
        segmenter: of the recipe's model.
        recipe: one set.
        pixel_offset: subtracted from every pixel.

    Raises:
        DeviceError: if the device fails; that is not the tile's fault.
        ModelError: if the model is not what the recipe asks for.
    """
    reason, segmenter_failed = "", False
    with timing.collect() as seconds:
        for _ in range(ATTEMPTS):
            try:
                check_memory(int(row["height_px"]), int(row["width_px"]), row["tile_id"])
                with timing.stage(timing.READ):
                    image = read_tile(row, pixel_offset=pixel_offset)
                segmenter_failed = True
                with timing.stage(timing.NET):
                    (labels,) = segmenter.segment([image], recipe)
                return _measure_tile(row, image, labels, seconds)
            except (DeviceError, ModelError):
                raise  # no fault of the tile
            except (SomaflowError, ValueError, RuntimeError, MemoryError, OSError) as error:
                # Counted and reported: the reason becomes the tile's row in the ledger.
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return set_aside(row, reason, segmenter_failed)


def set_aside(row: Row, reason: str, segmenter_failed: bool = False) -> TileDone:
    """A tile that is quarantined: empty labels, no cells, a reason."""
    empty = np.zeros((int(row["height_px"]), int(row["width_px"])), dtype=np.uint32)
    record = TileRecord(tile_id=row["tile_id"], n_cells=0, quarantined=reason)
    return TileDone(record, None, encode_labels(empty), {}, segmenter_failed)


def _measure_tile(
    row: Row, image: npt.NDArray[Any], labels: Labels, seconds: timing.Seconds
) -> TileDone:
    expected = (int(row["height_px"]), int(row["width_px"]))
    if labels.shape != expected:
        raise TileError(
            f"labels must have the planned shape {expected}, got {labels.shape} for "
            f"{row['tile_id']}; the file was changed since e0-prepare, run it again"
        )
    with timing.stage(timing.FEATURES):
        cells = measure_cells(labels, image)
        for place, column in enumerate(TILE_COLUMNS):
            cells.insert(place, column, row[column])
    with timing.stage(timing.WRITE):
        encoded = encode_labels(labels)
    record = TileRecord(tile_id=row["tile_id"], n_cells=len(cells))
    return TileDone(record, cells, encoded, seconds)
