"""The tile table: one row a tile, also for a tile that cannot be used, which says why."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

import pandas as pd

from somaflow.errors import BadInputError

KNOWN_MARKERS = ("GFAP", "NeuN", "IBA1", "OLIG2")
MARKERS_WITHOUT_CELL_BODIES = ("PECAM",)
OK, REFUSED, SKIPPED = "ok", "refused", "skipped"


@dataclass(frozen=True)
class TileRow:
    """One tile as found on disk; the fields are the columns of the tile table.

    Attributes:
        tile_id: unique, safe as a file name.
        donor: the donor's id, never a number; "" = unknown.
        marker: canonical spelling.
        region: "grey", "white", or "" where the layout does not tell.
        dapi_path: absolute path of the DAPI image; "" = there is none.
        marker_path: absolute path of the marker image; "" = there is none.
        height_px: Y length; 0 = unknown.
        width_px: X length; 0 = unknown.
        status: "ok", "refused" (cannot be used) or "skipped" (not asked for).
        reason: why it is not ok, on one line; "" if it is.
        labels_path: absolute path of the label file; "" = unlabelled.
        dapi_channel: which channel of the DAPI file; -1 = it has a single plane.
        marker_channel: which channel of the marker file; -1 = it has a single plane.
    """

    tile_id: str
    donor: str = ""
    marker: str = ""
    region: str = ""
    dapi_path: str = ""
    marker_path: str = ""
    height_px: int = 0
    width_px: int = 0
    status: str = OK
    reason: str = ""
    labels_path: str = ""
    dapi_channel: int = -1
    marker_channel: int = -1

    def refused(self, reason: str) -> "TileRow":
        """The same tile, refused; the first reason stays."""
        if self.status != OK:
            return self
        return replace(self, status=REFUSED, reason=" ".join(reason.split()))

    def skipped(self, reason: str) -> "TileRow":
        """The same tile, left out because nobody asked for it."""
        return self if self.status != OK else replace(self, status=SKIPPED, reason=reason)


COLUMNS = tuple(field.name for field in fields(TileRow))


def build_table(rows: Iterable[TileRow]) -> pd.DataFrame:
    """The tile table, sorted by tile_id, with index 0..n-1.

    Args:
        rows: in any order.

    Returns:
        DataFrame with the fields of `TileRow` as columns.
    """
    ordered = sorted(rows, key=lambda row: (row.tile_id, row.dapi_path, row.marker_path))
    return pd.DataFrame([asdict(row) for row in ordered], columns=list(COLUMNS))


def refuse_duplicates(rows: list[TileRow]) -> list[TileRow]:
    """The same rows; those that share a tile_id are refused, each naming the others' files."""
    counts = Counter(row.tile_id for row in rows)
    places: dict[str, list[str]] = {}
    for row in rows:
        if counts[row.tile_id] > 1:
            places.setdefault(row.tile_id, []).append(row.dapi_path or row.marker_path)
    return [
        row.refused(
            f"tile_id must be unique, {row.tile_id} names {len(places[row.tile_id])} tiles: "
            f"{' and '.join(places[row.tile_id])}; rename or remove all but one"
        )
        if row.tile_id in places
        else row
        for row in rows
    ]


def select_marker(row: TileRow, markers: tuple[str, ...] | None, where: object) -> TileRow:
    """The row, skipped or refused where its marker is not among those asked for.

    Args:
        row: with the marker as spelled on disk or canonically.
        markers: those asked for; None = GFAP, NeuN, IBA1, OLIG2.
        where: folder or files, for the message.
    """
    if row.marker in MARKERS_WITHOUT_CELL_BODIES:
        return row.skipped(f"{row.marker} has no cell bodies")
    if row.marker in (markers or KNOWN_MARKERS):
        return row
    if row.marker in KNOWN_MARKERS:
        return row.skipped(f"{row.marker} is not among the markers asked for")
    asked = ", ".join(markers or KNOWN_MARKERS)
    return row.refused(
        f"marker must be one of {asked}, found {row.marker!r} ({where}); correct the name, add it "
        "to the markers, or take it out"
    )


def spell_marker(name: str, markers: tuple[str, ...] | None = None) -> str:
    """Canonical spelling of a marker in any case; an unknown one stays as it is.

    Args:
        name: as on disk.
        markers: further spellings that count as canonical.
    """
    known = (*KNOWN_MARKERS, *MARKERS_WITHOUT_CELL_BODIES, *(markers or ()))
    return {marker.lower(): marker for marker in reversed(known)}.get(name.lower(), name)


def make_safe(name: str) -> str:
    """`name` with whatever is not a letter, digit, dot, underscore or hyphen as a hyphen."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-") or "unnamed"


def report_refused(table: pd.DataFrame) -> list[str]:
    """One line for each refused tile: "tile_id: reason"."""
    refused = table[table["status"] == REFUSED]
    pairs = zip(refused["tile_id"], refused["reason"], strict=True)
    return [f"{tile_id}: {reason}" for tile_id, reason in pairs]


def refuse_bad_tiles(table: pd.DataFrame) -> None:
    """Stops where any tile of the table is refused.

    Raises:
        BadInputError: with one line for each refused tile.
    """
    lines = report_refused(table)
    if lines:
        raise BadInputError("\n".join(lines))
