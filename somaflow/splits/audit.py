"""Looks for what leaks from one split into another: donors, pixels, near-duplicate fields.

Enters: the labelled tiles, their splits and a reader. Leaves: one row a finding. `refuse_leakage`
turns findings into an error before anything is trained on them.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from somaflow.errors import LeakageError
from somaflow.splits.assign import SPLIT_NAMES, donor_names, name_some
from somaflow.splits.record import Splits
from somaflow.splits.resemblance import Match, choose_reduction, find_matches, make_thumbnail

FINDING_COLUMNS = ("kind", "tile_a", "split_a", "tile_b", "split_b", "detail")
Read = Callable[[Any], np.ndarray]
Finding = tuple[str, str, str, str, str, str]
_CHANNELS = ("DAPI", "marker")
_REMEDIES = {
    "same donor": "put all tiles of the donor into one split",
    "same pixels": "remove one of the two tiles, or put both into one split",
    "near-duplicate": "look at both tiles; remove one, or put their donors into one split",
}


def audit_leakage(table: pd.DataFrame, splits: Splits, read: Read | None = None) -> pd.DataFrame:
    """Pairs of tiles in different splits that are not independent, one row a finding.

    Kinds: `same donor` (also where one donor is spelled in two ways, as 00246264 and 246264.0; one
    row a donor and pair of splits; not looked for at image level, which was chosen knowing that),
    `same pixels` (the decoded DAPI or marker plane is equal; constant planes, such as absent
    channels, do not count) and `near-duplicate` (the same field re-encoded, with other brightness
    or contrast, shifted by up to about half, flipped or turned by 90 degrees; see
    `somaflow.splits.resemblance` for the method and its measured limits). 120 tiles of
    1040 x 1388 px take seconds beyond reading them.

    Args:
        table: one row a labelled tile; columns donor, marker, tile_id and what `read` needs.
        splits: who is on which side.
        read: gives the (2, Y, X) image of a row; `somaflow.tiles.read_tile` unless given.

    Returns:
        Columns kind, tile_a, split_a, tile_b, split_b, detail; empty if nothing leaks.

    Raises:
        SplitError: if a tile is in no split.
        TileError: if a tile cannot be read.
    """
    if read is None:
        from somaflow.tiles import read_tile

        read = read_tile
    tiles = splits.tiles(table).sort_values("tile_id", kind="stable").reset_index(drop=True)
    channels, reduction = _read_planes(tiles, read)
    donors = _same_donors(tiles) if splits.level == "donor" else []
    findings = [*donors, *_same_pixels(tiles, channels)]
    equal = {(row[1], row[3]) for row in findings if row[0] == "same pixels"}
    similar = _near_duplicates(tiles, channels, reduction)
    findings += [row for row in similar if (row[1], row[3]) not in equal]
    return pd.DataFrame(findings, columns=list(FINDING_COLUMNS))


def refuse_leakage(findings: pd.DataFrame) -> None:
    """Refuses to go on if anything leaks.

    Args:
        findings: as `audit_leakage` gives.

    Raises:
        LeakageError: one line a finding: which tiles, which splits, what to do.
    """
    if findings.empty:
        return
    lines = [
        f"{row.kind}: {row.tile_a} ({row.split_a}) and {row.tile_b} ({row.split_b}), {row.detail}; "
        f"{_REMEDIES[str(row.kind)]}"
        for row in findings.itertuples(index=False)
    ]
    raise LeakageError(
        f"splits must not share donors or fields, found {len(lines)} leaks:\n" + "\n".join(lines)
    )


@dataclass
class _Planes:
    """What is kept of the pixels of one channel: index of the tile, checksum and thumbnail."""

    channel: str
    checksums: dict[int, str] = field(default_factory=dict)
    thumbnails: dict[int, np.ndarray] = field(default_factory=dict)


def _read_planes(tiles: pd.DataFrame, read: Read) -> tuple[list[_Planes], int]:
    """Checksums and thumbnails of all tiles, tile by tile, and px per thumbnail px."""
    channels = [_Planes(name) for name in _CHANNELS]
    reduction = _reduction_from_table(tiles)
    for index, row in enumerate(tiles.itertuples(index=False)):
        image = read(row)
        reduction = reduction or choose_reduction([image.shape[-2:]])
        for planes, plane in zip(channels, image, strict=True):
            if plane.min() == plane.max():
                continue  # an absent channel equals every other absent channel
            planes.checksums[index] = _checksum(plane)
            thumbnail = make_thumbnail(plane, reduction)
            if thumbnail is not None:
                planes.thumbnails[index] = thumbnail
    return channels, reduction


def _reduction_from_table(tiles: pd.DataFrame) -> int:
    if not {"height_px", "width_px"} <= set(tiles.columns):
        return 0
    sizes = tiles.loc[(tiles["height_px"] > 0) & (tiles["width_px"] > 0)]
    shapes = list(zip(sizes["height_px"], sizes["width_px"], strict=True))
    return choose_reduction(shapes) if shapes else 0


def _checksum(plane: np.ndarray) -> str:
    """sha256 of the pixel values, whatever integer type they are kept in."""
    small = plane.dtype.kind in "bui" and plane.min() >= 0 and plane.max() < 2**16
    values = plane.astype("<u2" if small else "<f8")
    digest = hashlib.sha256(f"{values.shape} {values.dtype.str}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _same_donors(tiles: pd.DataFrame) -> Iterator[Finding]:
    """One finding for each donor and pair of splits that both have tiles of it."""
    donors = donor_names(tiles)
    for _, part in tiles.assign(donor=donors)[donors != ""].groupby(donors.map(_plain_donor)):
        sides = {name: part[part["split"] == name] for name in SPLIT_NAMES}
        for a, b in itertools.combinations([name for name in SPLIT_NAMES if len(sides[name])], 2):
            spelled = name_some(sorted({*sides[a]["donor"], *sides[b]["donor"]}))
            yield (
                "same donor",
                str(sides[a]["tile_id"].iloc[0]),
                a,
                str(sides[b]["tile_id"].iloc[0]),
                b,
                f"donor {spelled} has {len(sides[a])} tiles in {a} and {len(sides[b])} in {b}",
            )


def _plain_donor(donor: str) -> str:
    """One spelling for ids that went through a spreadsheet: 00246264, 246264 and 246264.0."""
    return donor.casefold().removesuffix(".0").lstrip("0")


def _same_pixels(tiles: pd.DataFrame, channels: list[_Planes]) -> Iterator[Finding]:
    places: dict[str, list[tuple[int, str]]] = {}
    for planes in channels:
        for index, checksum in planes.checksums.items():
            places.setdefault(checksum, []).append((index, planes.channel))
    for copies in places.values():
        for (i, channel_i), (j, channel_j) in itertools.combinations(copies, 2):
            if i != j and tiles["split"][i] != tiles["split"][j]:
                detail = f"{channel_i} of one is {channel_j} of the other, pixel for pixel"
                yield _finding(tiles, "same pixels", i, j, detail)


def _near_duplicates(
    tiles: pd.DataFrame, channels: list[_Planes], reduction: int
) -> Iterator[Finding]:
    """One finding for each pair of tiles, from the channel that agrees best."""
    sides = tiles["split"].map(SPLIT_NAMES.index).to_numpy()
    best: dict[tuple[int, int], tuple[float, str]] = {}
    for planes in channels:
        indices = list(planes.thumbnails)
        thumbnails = list(planes.thumbnails.values())
        for match in find_matches(thumbnails, [int(sides[i]) for i in indices], reduction):
            pair = (indices[match.first], indices[match.second])
            found = (match.correlation, _describe(match, planes.channel))
            best[pair] = max(best.get(pair, found), found)
    for (i, j), (_, detail) in sorted(best.items()):
        yield _finding(tiles, "near-duplicate", i, j, detail)


def _describe(match: Match, channel: str) -> str:
    flipped = ", mirrored" if match.flipped else ""
    y, x = match.shift_px
    return (
        f"{channel} planes correlate by {match.correlation:.2f}, the second turned by "
        f"{match.turned_degrees} degrees{flipped} and shifted by about y {y}, x {x} px"
    )


def _finding(tiles: pd.DataFrame, kind: str, i: int, j: int, detail: str) -> Finding:
    """A finding on two tiles, the one in the earlier split first."""
    a, b = sorted((i, j), key=lambda index: SPLIT_NAMES.index(tiles["split"][index]))
    ids, sides = tiles["tile_id"].astype(str), tiles["split"]
    return (kind, ids[a], sides[a], ids[b], sides[b], detail)
