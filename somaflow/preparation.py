"""A folder of labelled tiles, per split, that Cellpose's own trainer and GUI can open.

Enters: the labelled tiles, their splits, and readers of pixels and labels. Leaves:
``<split>/<tile>.tif`` (3, Y, X) = DAPI, marker, zeros, ``<split>/<tile>_masks.tif`` (Y, X) beside
it, and last of all ``prepared.parquet``, the sign that the folder is whole. Refuses labels that do
not fit their image, and tile ids that would share a file name.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from somaflow.errors import LabelsError, StoreError, TileError
from somaflow.files import make_folder, sweep_temporaries, write_bytes
from somaflow.schema import PREPARED
from somaflow.splits.assign import SPLIT_NAMES
from somaflow.splits.record import Splits
from somaflow.stamps import encode_table, read_table

PREPARED_COLUMNS = (
    "tile_id",
    "donor",
    "marker",
    "split",
    "split_level",
    "image_path",
    "labels_path",
    "n_cells",
    "height_px",
    "width_px",
)
Read = Callable[[Any], np.ndarray]
_TABLE_NAME = "prepared.parquet"
# Cellpose 4.2.1.1 (io.get_image_files) passes over images whose names end so.
_CELLPOSE_ENDINGS = ("_masks", "_flows", "_flows_0", "_flows_1", "_flows_2", "_cellprob")


def write_prepared(
    table: pd.DataFrame, splits: Splits, folder: Path, read: Read, read_labels: Read
) -> pd.DataFrame:
    """Writes the labelled tiles for Cellpose and returns their table, one row a tile.

    A whole folder is left as it is and its table returned, so a rerun costs nothing; a folder that
    a killed run left in the middle is written anew. Equal input gives equal bytes.

    Args:
        table: one row a labelled tile; columns donor, marker, tile_id and what the readers need.
        splits: who is on which side.
        folder: made if absent.
        read: gives the (2, Y, X) image of a row, DAPI and marker; its dtype is kept.
        read_labels: gives the (Y, X) integer labels of a row, 0 = background.

    Returns:
        Columns as `PREPARED_COLUMNS`; paths are relative to the folder.

    Raises:
        StoreError: if the folder holds other tiles or splits than asked for.
        SplitError: if a tile is in no split.
        TileError: if two tile ids give one file name, or a tile cannot be read.
        LabelsError: if labels do not fit their image.
        OutputError: if the folder cannot be written.
    """
    folder = Path(folder)
    tiles = splits.tiles(table).sort_values("tile_id", kind="stable")
    names = _name_files(tiles)
    if (folder / _TABLE_NAME).is_file():
        return _refuse_other_tiles(open_prepared(folder), tiles, folder)
    for split in SPLIT_NAMES:
        make_folder(folder / split)
    sweep_temporaries(folder)
    _refuse_strangers(folder, set(tiles["split"] + "/" + names))
    rows = [
        _write_tile(row, name, folder, read, read_labels)
        for row, name in zip(tiles.itertuples(index=False), names, strict=True)
    ]
    prepared = pd.DataFrame(rows, columns=list(PREPARED_COLUMNS))
    write_bytes(folder / _TABLE_NAME, encode_table(PREPARED, prepared))
    return prepared


def is_prepared(folder: Path) -> bool:
    """Whether the folder is whole: its table, which is written last, is there."""
    return (Path(folder) / _TABLE_NAME).is_file()


def open_prepared(folder: Path) -> pd.DataFrame:
    """The table of a whole prepared folder, one row a tile.

    Raises:
        StoreError: if the folder is not whole.
    """
    path = Path(folder) / _TABLE_NAME
    if not path.is_file():
        raise StoreError(
            f"a prepared folder must hold {_TABLE_NAME}, which is written last; there is none in "
            f"{folder}, so it was never finished: run the preparation (e0-prepare) again"
        )
    return read_table(PREPARED, path)


def _name_files(tiles: pd.DataFrame) -> list[str]:
    """A file name without extension for each tile; folders in a tile id become part of the name.

    Raises:
        TileError: if two tiles of a split would share a name, or Cellpose would pass over it.
    """
    names = [re.sub(r"[^\w.-]+", "__", str(tile_id)) for tile_id in tiles["tile_id"]]
    # Some file systems take no notice of case.
    places = pd.Series([name.casefold() for name in names], index=tiles.index)
    places = tiles["split"].astype(str) + "/" + places
    double = tiles["tile_id"].astype(str)[places.duplicated(keep=False)]
    if len(double):
        raise TileError(
            f"tiles of a split must have different file names, {', '.join(double[:5])} do not; "
            "rename them"
        )
    unseen = [name for name in names if name.endswith(_CELLPOSE_ENDINGS)]
    if unseen:
        raise TileError(
            f"a tile id must not end in {', '.join(_CELLPOSE_ENDINGS)}, which Cellpose does not "
            f"take for images, got {', '.join(unseen[:5])}; rename these tiles"
        )
    return names


def _refuse_strangers(folder: Path, names: set[str]) -> None:
    """Refuses images of another run: Cellpose takes every image of a folder, whatever its split.

    Raises:
        StoreError: naming them.
    """
    strangers = [
        path.relative_to(folder).as_posix()
        for split in SPLIT_NAMES
        for path in sorted((folder / split).glob("*.tif"))
        if f"{split}/{path.stem.removesuffix('_masks')}" not in names
    ]
    if strangers:
        raise StoreError(
            f"an unfinished prepared folder must hold no other tiles, found {len(strangers)} in "
            f"{folder}, such as {', '.join(strangers[:5])}; remove them or choose another folder"
        )


def _write_tile(
    row: Any, name: str, folder: Path, read: Read, read_labels: Read
) -> tuple[str | int, ...]:
    """Writes image and labels of one tile and returns its row of the table."""
    from somaflow.segmenter import prepare_input

    image = prepare_input(read(row))  # (3, Y, X)
    labels = _narrow(read_labels(row), image.shape[1:], str(row.tile_id))
    image_path = f"{row.split}/{name}.tif"
    labels_path = f"{row.split}/{name}_masks.tif"
    write_bytes(folder / image_path, _encode(image, "CYX"))
    write_bytes(folder / labels_path, _encode(labels, "YX"))
    n_cells = int(np.count_nonzero(np.unique(labels)))
    height, width = labels.shape
    who = (str(row.tile_id), str(row.donor), str(row.marker), row.split, row.split_level)
    return (*who, image_path, labels_path, n_cells, height, width)


def _narrow(labels: np.ndarray, shape: tuple[int, ...], tile_id: str) -> np.ndarray:
    """The labels as uint16, or as uint32 where ids need it."""
    fits = labels.shape == shape and labels.dtype.kind in "ui" and labels.min(initial=0) >= 0
    if not fits:
        raise LabelsError(
            f"labels must be integers of 0 or more and of the image's shape {shape}, got "
            f"{labels.shape} {labels.dtype} for tile {tile_id}; correct its label file"
        )
    largest = int(labels.max(initial=0))
    return labels.astype(np.uint16 if largest < 2**16 else np.uint32)


def _encode(array: np.ndarray, axes: str) -> bytes:
    """A zlib-compressed TIFF without date or version, so that equal input gives equal bytes."""
    import tifffile

    content = io.BytesIO()
    tifffile.imwrite(
        content,
        array,
        photometric="minisblack",
        compression="zlib",
        metadata={"axes": axes},
        software=False,
    )
    return content.getvalue()


def _refuse_other_tiles(prepared: pd.DataFrame, tiles: pd.DataFrame, folder: Path) -> pd.DataFrame:
    keys = ["tile_id", "split", "split_level"]
    asked = set(tiles[keys].astype(str).itertuples(index=False, name=None))
    found = set(prepared[keys].astype(str).itertuples(index=False, name=None))
    if asked != found:
        some = ", ".join(f"{tile} ({split})" for tile, split, _ in sorted(asked ^ found)[:5])
        raise StoreError(
            f"a prepared folder must hold the tiles asked for, {folder} differs in "
            f"{len(asked ^ found)}, such as {some}; choose another folder or remove this one"
        )
    return prepared
