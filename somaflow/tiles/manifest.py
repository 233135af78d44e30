"""Layout «manifest»: a CSV file that names every tile's files, for data kept in any other way.

Columns tile_id, marker, and dapi_path or marker_path or both; optional donor, region, labels_path,
dapi_channel, marker_channel. Paths are relative to the CSV file's folder and stay in it, or are
absolute and lie where they say. An empty path declares that the channel does not exist: it is read
as zeros. Further columns are ignored.
"""

import os
import re
from collections import defaultdict
from pathlib import Path

from somaflow.errors import StudyError
from somaflow.paths import is_plain
from somaflow.tiles.donor_tables import read_csv
from somaflow.tiles.places import Places
from somaflow.tiles.table import TileRow, spell_marker

_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_PATH_COLUMNS = ("dapi_path", "marker_path", "labels_path")


def find_manifest_tiles(
    root: Path, markers: tuple[str, ...] | None, donors: dict[str, str] | None, places: Places
) -> tuple[list[TileRow], list[str]]:
    """A row for every line of the manifest.

    Args:
        root: the CSV file, or a folder with manifest.csv.
        markers: those asked for, canonically spelled; None = any.
        donors: donor by tile_id, for lines without one; None = no table.
        places: gets the folders of absolute paths, which say themselves where their files lie.

    Returns:
        The rows, and the tile_ids of the donor table that match none of them.

    Raises:
        StudyError: if the file is unreadable, lacks a column or has no line.
    """
    path = root / "manifest.csv" if root.is_dir() else root
    lines = read_csv(path, ("tile_id", "marker"), "manifest")
    if not lines:
        raise StudyError(f"layout manifest expects a line a tile, {path} has none; add them")
    if not lines[0][1].keys() & {"dapi_path", "marker_path"}:
        raise StudyError(
            f"the manifest must have a column dapi_path or marker_path, {path} has neither; add one"
        )
    lines_of: dict[str, list[int]] = defaultdict(list)
    for line, cells in lines:
        lines_of[cells["tile_id"]].append(line)
    for _, cells in lines:
        named = [Path(cells.get(column, "")) for column in _PATH_COLUMNS]
        for folder in {file.parent for file in named if file.is_absolute()}:
            places.admit(folder)
    rows = [_make_row(path, line, cells, markers, donors, lines_of) for line, cells in lines]
    return rows, sorted(set(donors or {}) - set(lines_of))


def _make_row(
    path: Path,
    line: int,
    cells: dict[str, str],
    markers: tuple[str, ...] | None,
    donors: dict[str, str] | None,
    lines_of: dict[str, list[int]],
) -> TileRow:
    channels = {
        name: _read_channel(cells.get(name, "")) for name in ("dapi_channel", "marker_channel")
    }
    folder = path.parent
    row = TileRow(
        tile_id=cells["tile_id"] or f"line-{line}",
        donor=cells.get("donor", "") or (donors or {}).get(cells["tile_id"], ""),
        marker=spell_marker(cells["marker"], markers),
        region=cells.get("region", ""),
        dapi_path=_resolve(folder, cells.get("dapi_path", "")),
        marker_path=_resolve(folder, cells.get("marker_path", "")),
        labels_path=_resolve(folder, cells.get("labels_path", "")),
        dapi_channel=channels["dapi_channel"] or 0,
        marker_channel=channels["marker_channel"] or 0,
    )
    unread = [name for name, channel in channels.items() if channel is None]
    if unread:
        return row.refused(
            f"{unread[0]} must be 0, 1, 2 ... or empty, found {cells[unread[0]]!r} in {path} line "
            f"{line}; correct it"
        )
    reason = (
        _find_id_fault(row, path, cells, lines_of)
        or _find_marker_fault(row, path, line, markers)
        or _find_path_fault(row, path, line)
        or _find_donor_fault(row, path, line, donors)
    )
    return row.refused(reason) if reason else row


def _read_channel(cell: str) -> int | None:
    """The channel of a cell, -1 for an empty one, None for nonsense."""
    if not cell:
        return -1
    return int(cell) if cell.isascii() and cell.isdigit() else None


def _resolve(folder: Path, cell: str) -> str:
    return os.path.abspath(folder / cell) if cell else ""  # noqa: PTH100


def _find_id_fault(
    row: TileRow, path: Path, cells: dict[str, str], lines_of: dict[str, list[int]]
) -> str:
    lines = lines_of[cells["tile_id"]]
    if not _SAFE_ID.fullmatch(cells["tile_id"]):
        return (
            "tile_id must be letters, digits, dot, underscore or hyphen, found "
            f"{cells['tile_id']!r} in {path} line {', '.join(map(str, lines))}; rename it"
        )
    if len(lines) > 1:
        return (
            f"tile_id must be unique, found {row.tile_id} in {path} on lines "
            f"{', '.join(map(str, lines))}; rename or remove all but one"
        )
    return ""


def _find_marker_fault(row: TileRow, path: Path, line: int, markers: tuple[str, ...] | None) -> str:
    if is_plain(row.marker) and (markers is None or row.marker in markers):
        return ""
    asked = f"one of {', '.join(markers)}" if markers else "named, without slashes"
    return (
        f"marker must be {asked}, found {row.marker!r} in {path} line {line}; "
        "correct it or take the line out"
    )


def _find_path_fault(row: TileRow, path: Path, line: int) -> str:
    if not (row.dapi_path or row.marker_path):
        return (
            f"a tile must have a DAPI or a marker image, found neither in {path} line {line}; "
            "fill in dapi_path or marker_path"
        )
    for name in _PATH_COLUMNS:
        value = getattr(row, name)
        if value and not Path(value).is_file():
            return f"{name} must name a file, there is no {value} ({path} line {line}); correct it"
    return ""


def _find_donor_fault(row: TileRow, path: Path, line: int, donors: dict[str, str] | None) -> str:
    if donors is None:
        return ""
    listed = donors.get(row.tile_id, "")
    if not row.donor:
        return (
            f"every tile must have a donor where a donor table is given, found none for "
            f"{row.tile_id} ({path} line {line}); add it to either file"
        )
    if listed and listed != row.donor:
        return (
            f"manifest and donor table must agree, found donors {row.donor} and {listed} for "
            f"{row.tile_id} ({path} line {line}); correct one of them"
        )
    return ""
