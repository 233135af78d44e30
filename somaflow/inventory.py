"""Which tiles a study has, and every problem with them, before any model is loaded.

Enters a `Study`; leaves one tile table over both of its sources, with the column `source` ("tiles"
or "labelled"), and the keys of what is made from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from somaflow.errors import BadInputError, LabelsError, StudyError, TileError
from somaflow.keys import content_key, fingerprint_files
from somaflow.paths import RunPaths
from somaflow.preparation import is_prepared, open_prepared
from somaflow.schema import TILES
from somaflow.splits import Splits, load_splits
from somaflow.stamps import encode_table, read_table
from somaflow.study import Study, TileSource
from somaflow.tiles import discover_tiles, read_tile, read_tile_labels, report_refused


def discover_study(study: Study) -> pd.DataFrame:
    """The study's tile table: all rows of both sources, sorted by source and tile_id.

    Raises:
        StudyError: if a source is missing or empty, a marker of the study has no tile, or a tile_id
            occurs in both sources.
    """
    tables = [_discover(study.tiles, study).assign(source="tiles")]
    if study.labelled is not None:
        tables.append(_discover(study.labelled, study).assign(source="labelled"))
    unmatched = [name for part in tables for name in part.attrs["unmatched_donor_rows"]]
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {"unmatched_donor_rows": unmatched}
    absent = sorted(set(study.markers or []) - set(table.marker))
    if absent:
        raise StudyError(
            f"every marker of a study must have tiles, found none of {', '.join(absent)}; "
            f"found are {', '.join(sorted(set(table.marker)))}; correct `markers` in the study"
        )
    twice = table.tile_id[table.tile_id.duplicated()].unique().tolist() if study.labelled else []
    if twice:
        raise StudyError(
            f"tile ids must differ between `tiles` and `labelled`, {len(twice)} occur in both "
            f"(first {twice[0]}); if they are the same files, remove `labelled` from the study"
        )
    return table


def labelled_tiles(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Usable rows that have labels."""
    source = "labelled" if study.labelled is not None else "tiles"
    chosen = (table.source == source) & (table.labels_path != "") & (table.status == "ok")
    return table[chosen].reset_index(drop=True)


def inference_tiles(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the source that is segmented as a whole, usable or not."""
    return table[table.source == "tiles"].reset_index(drop=True)


def fingerprint_tiles(table: pd.DataFrame, paths: RunPaths) -> dict[str, str]:
    """sha256 of every image of the usable rows, by path; those known already are not read."""
    usable = table[table.status == "ok"]
    files = usable[["dapi_path", "marker_path"]].to_numpy().ravel()
    return fingerprint_files(files, paths.fingerprints)


def unmatched_donor_rows(table: pd.DataFrame) -> list[str]:
    """A line for each row of a donor table that names no tile; the tiles may lie elsewhere."""
    return [
        f"donor table names tile {name}, which was not found; correct its tile_id or remove the row"
        for name in table.attrs["unmatched_donor_rows"]
    ]


def refuse_unusable(table: pd.DataFrame, study: Study) -> list[str]:
    """One line for each refused tile that may be set aside; raises where the study must stop.

    Raises:
        BadInputError: with a line for every refused tile, if one of them is a labelled tile or the
            study says `bad_tiles: fail`.
        StudyError: if no tile is usable.
    """
    lines = report_refused(table)
    refused = table[table.status == "refused"]
    is_labelled = (refused.source == "labelled") | (refused.labels_path != "")
    if lines and (study.bad_tiles == "fail" or is_labelled.any()):
        raise BadInputError("\n".join([f"{len(lines)} tile(s) cannot be used:", *lines]))
    if not (table.status == "ok").any():
        raise StudyError(
            "a study must have at least one usable tile, found none:\n" + "\n".join(lines[:30])
        )
    return lines


def check_labelled(labelled: pd.DataFrame, source: TileSource) -> pd.DataFrame:
    """Reads every labelled tile whole and returns the table with the column `n_cells`.

    Raises:
        BadInputError: with a line for every image or label file that cannot be used.
    """
    problems, n_cells = [], []
    for row in labelled.itertuples():
        try:
            read_tile(row, pixel_offset=source.pixel_offset)
            labels = read_tile_labels(row, renumber=source.renumber_labels)
            n_cells.append(int(labels.max(initial=0)))
        except (TileError, LabelsError) as error:
            problems.append(f"{row.tile_id}: {error}")
    if problems:
        heading = f"{len(problems)} labelled tile(s) cannot be used:"
        raise BadInputError("\n".join([heading, *problems]))
    return labelled.assign(n_cells=n_cells)


def prepared_key(labelled: pd.DataFrame, splits: Splits, study: Study, paths: RunPaths) -> str:
    """Key of the Cellpose-ready images: labelled files by content, and how they are split."""
    columns = ["dapi_path", "marker_path", "labels_path"]
    hashes = fingerprint_files(labelled[columns].to_numpy().ravel(), paths.fingerprints)
    split_of = splits.tiles(labelled).set_index("tile_id")["split"]
    rows: Iterable[Any] = labelled.sort_values("tile_id").itertuples()
    tiles = [
        [
            row.tile_id, row.donor, row.marker, split_of[row.tile_id],
            hashes[row.dapi_path], int(row.dapi_channel),
            hashes[row.marker_path], int(row.marker_channel), hashes[row.labels_path],
        ]
        for row in rows
    ]  # fmt: skip
    source = study.labelled_source
    return content_key(
        "prepare",
        tiles=tiles,
        level=splits.level,
        pixel_offset=source.pixel_offset,
        renumber_labels=source.renumber_labels,
    )


def _discover(source: TileSource, study: Study) -> pd.DataFrame:
    return discover_tiles(
        source.root,
        layout=source.layout,
        markers=study.markers,
        donor_table=source.donor_table,
        pixel_offset=source.pixel_offset,
        also_in=source.also_in,
    )


def write_tiles(paths: RunPaths, table: pd.DataFrame) -> None:
    """Writes the study's tile table, unless it is there as it is."""
    table = table.copy(deep=False)
    table.attrs = {}  # they would be stored in the file
    paths.write_current(paths.tiles, encode_table(TILES, table))


def read_tiles(paths: RunPaths) -> pd.DataFrame:
    """The tile table that e0-prepare wrote.

    Raises:
        StudyError: if it has not run.
    """
    if not paths.tiles.exists():
        raise StudyError(
            f"tiles must have been found first, {paths.tiles} is absent; run e0-prepare"
        )
    return read_table(TILES, paths.tiles)


@dataclass(frozen=True)
class Prepared:
    """The labelled tiles of a study, ready to train on and to score.

    Attributes:
        key: hash of their pixels, labels and splits.
        folder: where they lie.
        tiles: `prepared.parquet`, a row a tile.
    """

    key: str
    folder: Path
    tiles: pd.DataFrame


def find_prepared(study: Study) -> Prepared:
    """The study's prepared images, as its files and splits now are.

    Raises:
        StudyError: if e0-prepare has not run on them.
    """
    paths = study.paths
    labelled = labelled_tiles(read_tiles(paths), study)
    if labelled.empty:
        raise StudyError(
            f"scoring needs labelled tiles, {paths.tiles} has none; "
            "name them under `labelled` in the study and run e0-prepare"
        )
    if not paths.splits.exists():
        raise StudyError(
            f"tiles must have been split first, {paths.splits} is absent; run e0-prepare"
        )
    key = prepared_key(labelled, load_splits(paths.splits, labelled), study, paths)
    folder = paths.prepared(key)
    if not is_prepared(folder):
        raise StudyError(
            f"labelled tiles or splits have changed since e0-prepare, {folder} is "
            "absent; run e0-prepare again"
        )
    return Prepared(key, folder, open_prepared(folder))
