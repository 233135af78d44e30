"""Counts of tiles and traits by donor and marker, from the tables that there are.

Enters: the tile table and, as far as there are any, commit records, the plan, tile quality, traits
and a table of expected tiles. Leaves: a row a donor and marker, totals a marker, and every gap in
words. Every tile is counted exactly once: found = refused + segmented + quarantined + pending.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from somaflow.coverage.gaps import UNKNOWN, find_gaps
from somaflow.errors import BadInputError
from somaflow.tiles.table import OK, REFUSED, SKIPPED, spell_marker
from somaflow.traits.matching import Match, match_donors
from somaflow.traits.wording import shorten

COUNTS = (
    "n_expected", "n_found", "n_refused", "n_segmented", "n_quarantined", "n_pending",
    "n_passing_quality", "n_usable",
)  # fmt: skip


@dataclass(frozen=True)
class Coverage:
    """What a study has and what it lacks.

    Attributes:
        table: a row a donor and marker, sorted: donor (as the tiles spell it; `UNKNOWN` for tiles
            without one), marker, then counts of tiles: n_expected (NaN = not declared), n_found,
            n_refused, n_segmented, n_quarantined, n_pending (in no commit record), which are NaN
            without records, n_passing_quality (of the tiles not refused) and n_usable (of those
            segmented), which are NaN without a quality table; has_traits, and n_traits_missing of
            the donor's (NaN without a trait table). Every donor with tiles or expected has a row
            for every marker; one that is in the trait table alone has a single row, marker "".
        markers: a row a marker: n_donors (with tiles found; unknown ones do not count),
            n_donors_with_traits, and sums of the counts.
        match: donors of the tiles, with those expected, and of the trait table; None without one.
        problems: every gap, a line each.
    """

    table: pd.DataFrame
    markers: pd.DataFrame
    match: Match | None
    problems: list[str]


def audit_coverage(
    tiles: pd.DataFrame,
    records: pd.DataFrame | None = None,
    plan: pd.DataFrame | None = None,
    expected: pd.DataFrame | None = None,
    quality: pd.DataFrame | None = None,
    traits: pd.DataFrame | None = None,
) -> Coverage:
    """Counts what is there, what is not, and says every gap.

    Args:
        tiles: tile table of what is segmented: tile_id, donor, marker, status, reason. Rows that
            were skipped (another marker) are nobody's gap and are left out.
        records: tile_id and quarantined ("" or the reason), from `tabulate_records`; None where
            nothing was segmented yet.
        plan: of the same inference; tiles that it does not hold are then told apart from those it
            has still to do.
        expected: donor, marker, tiles, from `read_expected`; donors may lack leading zeros.
        quality: tile_id and passes (bool), a row a tile.
        traits: donor and columns of values, as `Traits.table`; donors may lack leading zeros.

    Raises:
        BadInputError: if a tile, donor or expectation has two rows in a table, a line for each.
    """
    _refuse_repeats(records, quality, traits)
    tiles = mark_tiles(tiles[tiles["status"] != SKIPPED], records, quality)
    expected = _spell_expected(expected, tiles["donor"])
    tile_donors = sorted({*tiles["donor"], *expected["donor"]} - {UNKNOWN})
    match = None if traits is None else match_donors(tile_donors, traits["donor"])
    table = _count(tiles, expected, tile_donors, match)
    table = _add_traits(table, traits, match)
    problems = list(find_gaps(table, tiles, match, records, plan, quality))
    return Coverage(table, _total(table), match, problems)


def _refuse_repeats(
    records: pd.DataFrame | None, quality: pd.DataFrame | None, traits: pd.DataFrame | None
) -> None:
    problems = []
    for name, table, column in (
        ("commit records", records, "tile_id"),
        ("tile quality", quality, "tile_id"),
        ("the trait table", traits, "donor"),
    ):
        if table is not None and table[column].duplicated().any():
            twice = table[column][table[column].duplicated()].unique().tolist()
            problems.append(
                f"{name} must have each {column} once, found twice: {shorten(twice)}; keep one row"
            )
    if problems:
        raise BadInputError("\n".join(problems))


def mark_tiles(
    tiles: pd.DataFrame, records: pd.DataFrame | None, quality: pd.DataFrame | None
) -> pd.DataFrame:
    """The tiles with what became of each, 1 or 0 in the columns of `COUNTS`, NaN if not known."""
    is_ok = tiles["status"] == OK
    marked = tiles.assign(
        donor=tiles["donor"].where(tiles["donor"] != "", UNKNOWN),
        n_found=1,
        n_refused=(tiles["status"] == REFUSED).astype(int),
        quarantined="",
    )
    if records is not None:
        reasons = records.set_index("tile_id")["quarantined"]
        found = marked["tile_id"].map(reasons)
        # Refused tiles may share a tile_id, and a tile may have been refused since its record.
        has_record = is_ok & found.notna()
        marked["quarantined"] = found.where(has_record, "")
        marked["n_segmented"] = (has_record & (found == "")).astype(int)
        marked["n_quarantined"] = (has_record & (found != "")).astype(int)
        marked["n_pending"] = (is_ok & ~has_record).astype(int)
    if quality is not None:
        passes = is_ok & marked["tile_id"].isin(quality["tile_id"][quality["passes"].eq(True)])
        marked["n_passing_quality"] = passes.astype(int)
        if records is not None:
            marked["n_usable"] = (passes & (marked["n_segmented"] == 1)).astype(int)
    return marked.assign(**{name: np.nan for name in COUNTS if name not in marked})


def _spell_expected(expected: pd.DataFrame | None, tile_donors: pd.Series) -> pd.DataFrame:
    """Expected tiles with donors spelled as the tiles do where they are the same number."""
    if expected is None:
        return pd.DataFrame({"donor": [], "marker": [], "tiles": []}).astype(
            {"donor": object, "marker": object}
        )
    match = match_donors(tile_donors, expected["donor"])
    donors = [match.donors.get(name, name) for name in expected["donor"]]
    spelled = expected.assign(
        donor=donors, marker=[spell_marker(name) for name in expected["marker"]]
    )
    repeated = spelled[spelled.duplicated(["donor", "marker"])]
    if len(repeated):
        rows: Iterable[Any] = repeated.itertuples()
        pairs = [f"{row.marker} of donor {row.donor}" for row in rows]
        raise BadInputError(
            f"expected tiles must name each donor and marker once, found twice: {shorten(pairs)}; "
            "keep one row of each"
        )
    return spelled


def _count(
    tiles: pd.DataFrame, expected: pd.DataFrame, tile_donors: list[str], match: Match | None
) -> pd.DataFrame:
    """Sums of the marks by donor and marker, also of pairs that have no tile."""
    markers = sorted({*tiles["marker"], *expected["marker"]})
    # Refused tiles of unreadable places may have no marker; that is no marker that others lack.
    pairs = {(donor, marker) for donor in tile_donors for marker in markers if marker}
    pairs |= set(zip(tiles["donor"], tiles["marker"], strict=True))
    if match is not None:
        pairs |= {(donor, "") for donor in match.without_tiles if donor not in tile_donors}
    counted = tiles.groupby(["donor", "marker"])[list(COUNTS)].sum(min_count=1)
    index = pd.MultiIndex.from_tuples(sorted(pairs), names=["donor", "marker"])
    table = counted.reindex(index)
    for name in COUNTS:
        if not tiles[name].isna().any():  # known for all tiles, so 0 where there is none
            table[name] = table[name].fillna(0).astype("int64")
    declared = expected.set_index(["donor", "marker"])["tiles"].reindex(index)
    return table.assign(n_expected=declared.astype("float64")).reset_index()


def _add_traits(
    table: pd.DataFrame, traits: pd.DataFrame | None, match: Match | None
) -> pd.DataFrame:
    if traits is None or match is None:
        return table.assign(has_traits=False, n_traits_missing=np.nan)
    values = traits.drop(columns="donor")
    names = [match.donors.get(name, name) for name in traits["donor"]]
    n_missing = pd.Series(values.isna().sum(axis=1).to_numpy(), index=names)
    # An ambiguous donor may be spelled alike in both tables, and yet be somebody else.
    n_missing = n_missing[~n_missing.index.isin(match.without_traits)]
    found = table["donor"].map(n_missing)
    is_known = table["donor"] != UNKNOWN
    return table.assign(
        has_traits=found.notna(),
        n_traits_missing=found.where(found.notna() | ~is_known, values.shape[1]).astype("float64"),
    )


def _total(table: pd.DataFrame) -> pd.DataFrame:
    """Sums and donors of each marker."""
    rows = []
    for marker, group in table[table["marker"] != ""].groupby("marker"):
        donors = group[(group["n_found"] > 0) & (group["donor"] != UNKNOWN)]
        sizes = {"n_donors": len(donors), "n_donors_with_traits": int(donors["has_traits"].sum())}
        sums = {name: group[name].sum(min_count=1) for name in COUNTS}
        rows.append({"marker": marker, **sizes, **sums})
    return pd.DataFrame(rows)
