"""What the headers of a tile's files show to be wrong, before anything is decoded."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from somaflow.errors import LabelsError, TileError
from somaflow.images.formats import read_header
from somaflow.images.header import ImageHeader
from somaflow.images.planes import check_is_plane
from somaflow.labels import check_labels_header
from somaflow.tiles.places import Places
from somaflow.tiles.table import OK, TileRow


def check_headers(row: TileRow, places: Places, pixel_offset: int = 0) -> TileRow:
    """The row with its size filled in, or refused with the reason.

    Args:
        row: a tile as found; returned as it is unless its status is ok.
        places: in which its files must really lie; one that does not is not opened.
        pixel_offset: that will be subtracted from every pixel.
    """
    if row.status != OK:
        return row
    for path in filter(None, (row.dapi_path, row.marker_path, row.labels_path)):
        if reason := places.refuse(path):
            return row.refused(reason)
    try:
        headers = [
            _check_channel(path, channel, pixel_offset)
            for path, channel in (
                (row.dapi_path, row.dapi_channel),
                (row.marker_path, row.marker_channel),
            )
            if path
        ]
        _check_not_same(row, headers)
        height_px, width_px = _check_same_size(headers)
        row = replace(row, height_px=height_px, width_px=width_px)
        if row.labels_path:
            check_labels_header(row.labels_path, (height_px, width_px))
    except (TileError, LabelsError) as error:
        return row.refused(str(error))
    return row


def _check_not_same(row: TileRow, headers: list[ImageHeader]) -> None:
    """A missing marker must not be a copy of DAPI in disguise: one plane cannot be both."""
    differ = row.dapi_channel != row.marker_channel and headers[0].axes != "YX"
    if differ or not (row.dapi_path and row.marker_path):
        return
    if row.dapi_path == row.marker_path or _is_link_to_same(row.dapi_path, row.marker_path):
        raise TileError(
            f"DAPI and marker must be different images, both are {row.marker_path}; name the "
            "marker's own file, or leave the path of the missing channel empty in a manifest"
        )


def _is_link_to_same(first: str, second: str) -> bool:
    links = [path for path in (first, second) if Path(path).is_symlink()]
    return bool(links) and os.path.realpath(first) == os.path.realpath(second)


def _check_channel(path: str, channel: int, pixel_offset: int) -> ImageHeader:
    header = read_header(path)
    check_is_plane(header, None if channel < 0 else channel)
    if header.dtype.kind in "ui" and np.iinfo(header.dtype).max < pixel_offset:
        raise TileError(
            f"every pixel must reach the pixel offset {pixel_offset}, {path} is {header.dtype}; "
            "set the offset to 0 for this data set, or take it out"
        )
    return header


def _check_same_size(headers: list[ImageHeader]) -> tuple[int, int]:
    sizes = [(header.height_px, header.width_px) for header in headers]
    if len(set(sizes)) > 1:
        raise TileError(
            f"DAPI and marker must have the same height and width, {headers[0].path} is {sizes[0]} "
            f"and {headers[1].path} {sizes[1]}; pair the files of one snap"
        )
    return sizes[0]
