"""Layout «rosmap»: the export of the whole study, one folder a tile, its donor a folder above it.

`<root>/<MARKER>/<MARKER>/<projid>/<Grey|White>/Snap-N.tiff_files/Snap-N_b0c0x..y...tiff` is DAPI,
`..._b0c1...` (sometimes `b0c2`) the marker; NeuN says `_dapi-b0c0` and `_NeuN-b0c1`. Channels are
read from the file's name alone: folder names may contain «c0» too.
"""

import os
import re
from pathlib import Path

from somaflow.tiles.folders import is_tiff_name, no_tiles, walk_folders
from somaflow.tiles.places import Places
from somaflow.tiles.table import TileRow, make_safe, refuse_duplicates, select_marker, spell_marker

EXPECTED = (
    "<MARKER>/<MARKER>/<projid>/<Grey|White>/Snap-N.tiff_files/Snap-N_b0c0...tiff (DAPI) with "
    "..._b0c1... (marker) beside it"
)
_DEPTH = 5
_DONOR_DIGITS = 8
_REGIONS = ("grey", "white")
_MARKER_CHANNELS = (1, 2)
# `Snap-106_NeuN-b0c1x0-173y0-130.tiff`: an optional name of the channel, then block and channel.
_CHANNEL = re.compile(r"_(?:(?P<stain>[A-Za-z0-9]+)-)?b\d+c(?P<channel>\d+)(?![0-9])")
_SNAP_FOLDER = re.compile(r"\.tiff?_files$", re.IGNORECASE)


def find_rosmap_tiles(root: Path, markers: tuple[str, ...] | None, places: Places) -> list[TileRow]:
    """A row for every folder that holds a tile, in one pass over names.

    Args:
        root: folder of the marker folders.
        markers: those asked for, canonically spelled; None = GFAP, NeuN, IBA1, OLIG2.
        places: a link to a folder outside of them is a row that says so.

    Raises:
        StudyError: if there is no such folder.
    """
    rows = []
    for listing in walk_folders(root, places):
        folder, images = listing.folder, [name for name in listing.files if is_tiff_name(name)]
        for name, reason in listing.strays.items():
            rows.append(_refuse_folder(root, folder / name, reason))
        if listing.fault and folder != root:
            rows.append(_refuse_folder(root, folder, listing.fault))
        elif _SNAP_FOLDER.search(folder.name) or any(_CHANNEL.search(name) for name in images):
            rows.append(_make_row(root, folder, images, markers))
    if not rows:
        raise no_tiles(root, "rosmap", EXPECTED)
    return refuse_duplicates(rows)


def _refuse_folder(root: Path, folder: Path, reason: str) -> TileRow:
    return TileRow(tile_id=make_safe("_".join(folder.relative_to(root).parts))).refused(reason)


def _make_row(
    root: Path, folder: Path, images: list[str], markers: tuple[str, ...] | None
) -> TileRow:
    parts = folder.relative_to(root).parts
    if len(parts) != _DEPTH:
        reason = (
            f"a tile must lie at {EXPECTED}, found images at {folder}; move them or correct the "
            "tile folder"
        )
        return _refuse_folder(root, folder, reason)
    outer, inner, projid, region, snap = parts
    marker = spell_marker(outer, markers)
    donor = projid.zfill(_DONOR_DIGITS) if _is_donor(projid) else ""
    snap = _SNAP_FOLDER.sub("", snap)
    row = TileRow(
        tile_id="_".join(
            make_safe(part) for part in (marker, donor or projid, region.lower(), snap)
        ),
        donor=donor,
        marker=marker,
        region=region.lower() if region.lower() in _REGIONS else "",
        dapi_path=_join(folder, _find_candidates(images, (0,))),
        marker_path=_join(folder, _find_candidates(images, _MARKER_CHANNELS)),
    )
    row = select_marker(row, markers, folder)
    return row.refused(reason) if (reason := _find_fault(row, folder, inner, images)) else row


def _is_donor(projid: str) -> bool:
    return projid.isascii() and projid.isdigit() and len(projid) <= _DONOR_DIGITS


def _find_candidates(images: list[str], channels: tuple[int, ...]) -> list[str]:
    return [
        name
        for name in images
        if (match := _CHANNEL.search(name)) and int(match["channel"]) in channels
    ]


def _join(folder: Path, candidates: list[str]) -> str:
    return os.path.join(folder, candidates[0]) if len(candidates) == 1 else ""  # noqa: PTH118


def _find_fault(row: TileRow, folder: Path, inner: str, images: list[str]) -> str:
    """What is wrong with a tile's names; "" if nothing is."""
    if inner.lower() != row.marker.lower():
        return (
            f"both marker folders must agree, found {row.marker} and {inner} in {folder}; "
            "move the tile to the folder of its marker"
        )
    if not row.donor:
        return (
            f"the donor folder must be a projid of at most {_DONOR_DIGITS} digits, found "
            f"{folder.parents[1].name!r} in {folder}; rename it to the donor's projid"
        )
    if not row.region:
        return (
            f"the region folder must be Grey or White, found {folder.parent.name!r} in {folder}; "
            "rename it"
        )
    return _find_channel_fault(row, folder, images)


def _find_channel_fault(row: TileRow, folder: Path, images: list[str]) -> str:
    for name in images:
        match = _CHANNEL.search(name)
        if match and int(match["channel"]) not in (0, *_MARKER_CHANNELS):
            return (
                f"a channel must be c0 (DAPI), c1 or c2 (marker), found {name} in {folder}; "
                "take it out"
            )
        if match and match["stain"] and not _fits(match["stain"], int(match["channel"]), row):
            return (
                f"c0 must be dapi and c1 or c2 {row.marker}, found {name} in {folder}; "
                "correct the export"
            )
    for what, code, channels in (("DAPI", "b0c0", (0,)), ("marker", "b0c1", _MARKER_CHANNELS)):
        found = _find_candidates(images, channels)
        if not found:
            return (
                f"a tile must have a {what} image (..._{code}...tiff), found "
                f"{' and '.join(images) or 'no image'} in {folder}; export it again or take the "
                "tile out"
            )
        if len(found) > 1:
            return (
                f"a tile must have one {what} image, found {' and '.join(found)} in {folder}; "
                "take out all but one"
            )
    return ""


def _fits(stain: str, channel: int, row: TileRow) -> bool:
    expected = "dapi" if channel == 0 else row.marker.lower()
    return stain.lower() == expected
