"""The pixels and labels of one row of the tile table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from somaflow.errors import LabelsError, TileError
from somaflow.images import read_header, read_plane
from somaflow.labels import read_labels
from somaflow.tiles.table import OK


def read_tile(row: Any, pixel_offset: int = 0) -> np.ndarray:
    """The image of a tile.

    Args:
        row: of the tile table, as a Series, a named tuple or a mapping.
        pixel_offset: subtracted from every pixel of both channels.

    Returns:
        (2, Y, X): DAPI, then the marker, in a type that holds both; a channel without a path is 0.

    Raises:
        TileError: if the tile was refused, a file is unreadable, or the sizes differ.
    """
    tile_id, status = _get(row, "tile_id", "tile"), _get(row, "status", OK)
    if status != OK:
        raise TileError(
            f"a tile must be ok to be read, {tile_id} is {status}: {_get(row, 'reason', '')}"
        )
    planes = [_read_channel(row, name, pixel_offset) for name in ("dapi", "marker")]
    shapes = {plane.shape for plane in planes if plane is not None}
    if len(shapes) != 1:
        found = " and ".join(map(str, sorted(shapes))) or "no image"
        raise TileError(
            f"DAPI and marker of a tile must have one shape, {tile_id} has {found} in "
            f"{_get(row, 'dapi_path', '')} and {_get(row, 'marker_path', '')}; pair the files of "
            "one snap"
        )
    shape = shapes.pop()
    dtype = np.result_type(*(plane.dtype for plane in planes if plane is not None))
    tile = np.zeros((2, *shape), dtype)
    for channel, plane in zip(tile, planes, strict=True):
        if plane is not None:
            channel[...] = plane
    return tile


def read_tile_labels(row: Any, renumber: bool = False) -> np.ndarray:
    """The instance labels of a labelled tile.

    Args:
        row: of the tile table, as a Series, a named tuple or a mapping.
        renumber: number ids with gaps 1..N instead of refusing them.

    Returns:
        (Y, X) uint32, 0 = background.

    Raises:
        LabelsError: if the tile has no labels, or they are not labels of the tile's shape.
        TileError: if the tile's size is unknown and its image unreadable.
    """
    path = _get(row, "labels_path", "")
    if not path:
        raise LabelsError(
            f"a tile must be labelled, {_get(row, 'tile_id', 'tile')} has no labels_path; "
            "leave it out of what needs labels"
        )
    shape = (int(_get(row, "height_px", 0)), int(_get(row, "width_px", 0)))
    if 0 in shape:
        header = read_header(_get(row, "dapi_path", "") or _get(row, "marker_path", ""))
        shape = (header.height_px, header.width_px)
    return read_labels(path, shape=shape, renumber=renumber)


def _read_channel(row: Any, name: str, pixel_offset: int) -> np.ndarray | None:
    path = _get(row, f"{name}_path", "")
    if not path:
        return None
    channel = int(_get(row, f"{name}_channel", -1))
    return read_plane(path, None if channel < 0 else channel, pixel_offset)


def _get(row: Any, name: str, default: Any) -> Any:
    if isinstance(row, (pd.Series, Mapping)):
        return row.get(name, default)
    return getattr(row, name, default)
