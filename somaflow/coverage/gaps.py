"""What a study lacks, in words: a line for each gap in its coverage."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from somaflow.tiles.table import OK
from somaflow.traits.matching import Match
from somaflow.traits.wording import shorten

UNKNOWN = "(unknown)"
"""Stands for the donor of tiles whose donor nobody knows."""


def find_gaps(
    table: pd.DataFrame,
    tiles: pd.DataFrame,
    match: Match | None,
    records: pd.DataFrame | None,
    plan: pd.DataFrame | None,
    quality: pd.DataFrame | None,
) -> Iterator[str]:
    """A line for each gap: expectations, markers, tiles, what is still to do, donors.

    Args:
        table: of `Coverage`.
        tiles: the tile table as `mark_tiles` returns it.
        match: donors of the tiles and of the trait table.
        records: as for `audit_coverage`, like `plan` and `quality`.
        plan: None = what is not segmented is still to do.
        quality: None = not measured.
    """
    yield from _compare_expected(table)
    yield from _report_absent(table)
    yield from _report_tiles(tiles)
    yield from _report_pending(tiles, records, plan, quality)
    yield from _report_donors(match)


def _compare_expected(table: pd.DataFrame) -> Iterator[str]:
    if table["n_expected"].isna().all():
        return  # nobody says what should be there
    for row in _rows(table[table["n_expected"].notna()]):
        if row.n_found != row.n_expected:
            yield (
                f"{row.marker}: {row.n_expected:.0f} tiles of donor {row.donor} expected, "
                f"{row.n_found} found"
            )
    others = (table["n_found"] > 0) & table["n_expected"].isna() & (table["donor"] != UNKNOWN)
    for marker, group in table[others].groupby("marker"):
        yield (
            f"{marker}: {len(group)} donor(s) have tiles and are not among the expected: "
            f"{shorten(group['donor'].tolist())}"
        )


def _report_absent(table: pd.DataFrame) -> Iterator[str]:
    """Donors of whom a marker has no tile at all, where that is not told as an expectation."""
    known = table[(table["marker"] != "") & (table["donor"] != UNKNOWN)]
    for marker, group in known.groupby("marker"):
        absent = group[(group["n_found"] == 0) & group["n_expected"].isna()]
        if len(absent):
            yield (
                f"{marker}: no tile of {len(absent)} of {len(group)} donors: "
                f"{shorten(absent['donor'].tolist())}"
            )


def _report_tiles(tiles: pd.DataFrame) -> Iterator[str]:
    """A line for each tile that was refused or set aside, and for those of nobody."""
    for row in _rows(tiles[tiles["n_refused"] == 1]):
        yield f"{row.marker or 'no marker'}: tile {row.tile_id} is refused: {row.reason}"
    for row in _rows(tiles[tiles["quarantined"] != ""]):
        yield f"{row.marker}: tile {row.tile_id} was set aside: {row.quarantined}"
    for marker, group in tiles[tiles["donor"] == UNKNOWN].groupby("marker"):
        yield (
            f"{str(marker) or 'no marker'}: {len(group)} tile(s) have no known donor and count for "
            f"none: {shorten(group['tile_id'].tolist(), n_shown=3)}"
        )


def _report_pending(
    tiles: pd.DataFrame,
    records: pd.DataFrame | None,
    plan: pd.DataFrame | None,
    quality: pd.DataFrame | None,
) -> Iterator[str]:
    pending = tiles[tiles["n_pending"] == 1]
    planned = set(pending["tile_id"] if plan is None else plan["tile_id"])
    is_planned = pending["tile_id"].isin(planned)
    yield from _by_marker(pending[is_planned], "not segmented yet; run e5-inference")
    yield from _by_marker(
        pending[~is_planned],
        "not in the plan of this inference, which is of other tiles; run e0-prepare and "
        "e5-inference again",
    )
    if records is not None:
        usable = tiles["tile_id"][tiles["status"] == OK]
        gone = sorted(set(records["tile_id"]) - set(usable))
        if gone:
            yield (
                f"{len(gone)} tile(s) were segmented and are not usable tiles of the study now: "
                f"{shorten(gone, n_shown=3)}; run e0-prepare and e5-inference again"
            )
    if quality is not None:
        unknown = tiles[(tiles["status"] == OK) & ~tiles["tile_id"].isin(quality["tile_id"])]
        yield from _by_marker(unknown, "without a row of tile quality, so they do not pass")


def _by_marker(tiles: pd.DataFrame, what: str) -> Iterator[str]:
    for marker, group in tiles.groupby("marker"):
        n_donors = group["donor"].nunique()
        yield f"{marker}: {len(group)} tile(s) of {n_donors} donor(s) {what}"


def _report_donors(match: Match | None) -> Iterator[str]:
    if match is None:
        return
    if not match.donors or match.ambiguous:
        yield from match.describe()
    elif match.without_traits:
        n_donors = len(match.donors) + len(match.without_traits)
        yield (
            f"{len(match.without_traits)} of {n_donors} donors have no traits: "
            f"{shorten(match.without_traits)}"
        )


def _rows(table: pd.DataFrame) -> Sequence[Any]:
    return list(table.itertuples())
