"""What is wrong or missing in a study: the first thing that its report says.

Enters: the evidence. Leaves: a page with a line for each kind of problem, and tables of the tiles
concerned. Nothing is left out for being many: the tables hold them all, the page the first ones.
"""

import re
from collections.abc import Iterator, Sequence

import pandas as pd

from somaflow.experiments.results import Results
from somaflow.paths import DONORS
from somaflow.report.evidence import Evidence
from somaflow.report.markup import plain, show
from somaflow.study import dump_study

SHOWN_ROWS = 20
SIZE_LIMIT_MB = 25.0
FOUND_Q = 0.05
NOT_CONCLUSIVE = "not conclusive"
_LOOK_INTO = re.compile(r"^## To look into\n\n((?:- [^\n]*\n?)+)", re.MULTILINE)
_FAILED = re.compile(r"\*\*(\d+) run\(s\) failed[^\n]*\n\n((?:- [^\n]*\n?)+)")


def describe_cautions(evidence: Evidence, absent: Sequence[str], size_mb: float) -> Results:
    """The page of warnings.

    Args:
        evidence: of the study.
        absent: a line of Markdown for each part that was not run.
        size_mb: of all pictures, as the report will hold them.
    """
    page = Results("What is wrong or missing")
    tiles = _set_aside(evidence)
    lines = [plain(line) for line in evidence.problems]
    lines += [*_describe_study(evidence), *_describe_set_aside(tiles), *_describe_runs(evidence)]
    lines += [*_describe_donors(evidence), *_describe_doubts(evidence), *absent]
    if size_mb > SIZE_LIMIT_MB:
        lines.append(
            f"This file is large: its pictures take {size_mb:.0f} MB, more than "
            f"{SIZE_LIMIT_MB:g}. Fewer recipes or markers under `thresholds` make fewer."
        )
    if not lines:
        page.add_words("Nothing: every part has run, and no tile, run or donor is missing.")
        return page
    page.add_words("\n".join(f"- {line}" for line in lines))
    if len(tiles):
        page.add_words(f"### Tiles that are not used{_first_words(len(tiles))}")
        page.add_table("set-aside", tiles, show(tiles.head(SHOWN_ROWS)))
    return page


def _first_words(n_rows: int) -> str:
    return f" (the first {SHOWN_ROWS} of {n_rows})" if n_rows > SHOWN_ROWS else ""


def _set_aside(evidence: Evidence) -> pd.DataFrame:
    """A row a tile that was refused, or quarantined by an inference."""
    columns = ["tile_id", "donor", "marker", "what", "reason"]
    parts = []
    if evidence.tiles is not None:
        refused = evidence.tiles[evidence.tiles.status == "refused"]
        parts.append(refused.assign(what="refused")[columns])
    for inference in evidence.inferences:
        tiles = inference.tiles
        bad = tiles[tiles.quarantined != ""].rename(columns={"quarantined": "reason"})
        parts.append(bad.assign(what=f"quarantined by {inference.key}")[columns])
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _describe_set_aside(tiles: pd.DataFrame) -> Iterator[str]:
    for what, group in tiles.groupby("what", sort=False):
        yield f"**{len(group)} tile(s) {plain(what)}**, with their reasons below."


def _describe_study(evidence: Evidence) -> Iterator[str]:
    """Splits that promise less than they seem to, and a study that has changed since."""
    if (evidence.splits or {}).get("level") == "image":
        yield (
            "**Splits are image-level**: donors are unknown or ignored, tiles of one donor may "
            "be on both sides, and scores may be too good."
        )
    path = evidence.study.paths.study
    if path.exists():
        _, _, former = path.read_text(encoding="utf-8").partition("\n")
        if former != dump_study(evidence.study).partition("\n")[2]:
            yield (
                "The study file has changed since e0-prepare ran; parts below may be of the "
                "former one. Run the flow `study` again, which redoes only what changed."
            )


def _describe_runs(evidence: Evidence) -> Iterator[str]:
    """Failed runs, trainings that have not ended, shards that are not committed."""
    for name, page in evidence.pages.items():
        for count, listed in _FAILED.findall(page.markdown):
            runs = "; ".join(plain(line.lstrip("- ").strip("`")) for line in listed.splitlines())
            yield f"**{count} run(s) of {name} failed**: {runs}"
    if evidence.unfinished:
        names = ", ".join(folder.name for folder in evidence.unfinished)
        yield f"{len(evidence.unfinished)} training(s) have not ended: {names}"
    for inference in evidence.inferences:
        status = inference.status
        if status.shards_done < status.shards:
            yield (
                f"Inference {inference.key} is not finished: {status.tiles_done} of "
                f"{status.tiles} tiles; run e5-inference again"
            )


def _describe_donors(evidence: Evidence) -> Iterator[str]:
    """Donors that are flagged, and gaps of coverage, as e5-donors found them."""
    page = evidence.pages.get(DONORS)
    if page is None:
        return
    if listed := _LOOK_INTO.search(page.markdown):
        yield from (plain(line.removeprefix("- ")) for line in listed[1].splitlines())
        return
    for name, table in page.tables.items():
        if {"donor", "flag"} <= set(table):
            flagged = table[table.flag.notna() & (table.flag != "")]
            if len(flagged):
                donors = sorted(set(flagged.donor.astype(str)))
                yield f"**{len(donors)} donor(s) flagged** in `{name}`: {_shorten(donors)}"
        if {"donor", "marker", "n_found", "n_expected"} <= set(table):
            yield from _describe_gaps(table)


def _describe_gaps(coverage: pd.DataFrame) -> Iterator[str]:
    known = coverage[coverage.marker.notna() & (coverage.marker != "")]
    fewer = known[known.n_found < known.n_expected]
    if len(fewer):
        pairs = [f"{row.donor} {row.marker}" for row in fewer.itertuples()]
        yield f"**Fewer tiles than expected** of {len(pairs)} donor and marker: {_shorten(pairs)}"
    empty = known[(known.n_found == 0) & known.n_expected.isna()]
    if len(empty):
        pairs = [f"{row.donor} {row.marker}" for row in empty.itertuples()]
        yield f"No tile at all of {len(pairs)} donor and marker: {_shorten(pairs)}"
    if "has_traits" in coverage:
        donors = sorted(set(known.donor[~known.has_traits.astype(bool)].astype(str)))
        if donors:
            yield f"{len(donors)} donor(s) without traits: {_shorten(donors)}"


def _describe_doubts(evidence: Evidence) -> Iterator[str]:
    """How many results are not conclusive."""
    for name, page in evidence.pages.items():
        for table_name, table in page.tables.items():
            where = f"`{table_name}` of {name}"
            if "verdict" in table:
                verdicts = _primary(table).verdict
                n_open = int((verdicts == NOT_CONCLUSIVE).sum())
                if n_open:
                    yield f"{n_open} of {len(verdicts)} verdicts in {where} are not conclusive"
            elif {"rho", "q", "family"} <= set(table) and table_name == "associations":
                tested = _primary(table).dropna(subset=["q"])
                n_open = int((tested.q >= FOUND_Q).sum())
                if n_open:
                    yield (
                        f"{n_open} of {len(tested)} primary associations with traits ({where}) are "
                        f"not conclusive: q is {FOUND_Q:g} or more"
                    )
            ends = ["f1_pooled_difference_low", "f1_pooled_difference_high"]
            if set(ends) <= set(table) and table_name == "scores":
                yield from _describe_differences(table, where)


def _primary(table: pd.DataFrame) -> pd.DataFrame:
    """The associations that were declared before; all where none were."""
    if "family" not in table:
        return table
    return table[table.family.astype(str).str.endswith("primary")]


def _describe_differences(scores: pd.DataFrame, where: str) -> Iterator[str]:
    """Recipes of which the interval of the difference holds 0, on the last split, by marker."""
    order = [split for split in ("train", "val", "test") if (scores.split == split).any()]
    shown = scores[scores.split == order[-1]] if order else scores
    compared = shown[shown.recipe != shown.recipe.iloc[0]] if len(shown) else shown
    low, high = compared.f1_pooled_difference_low, compared.f1_pooled_difference_high
    n_open = int(((low <= 0) & (high >= 0)).sum())
    if n_open:
        yield (
            f"{n_open} of {len(compared)} differences in F1 against the baseline ({where}, "
            f"{order[-1] if order else 'all'}) are not conclusive: their interval holds 0"
        )
    n_unknown = int(low.isna().sum())
    if n_unknown:
        yield (
            f"{n_unknown} of {len(compared)} differences in F1 ({where}) have no interval: there "
            "are too few donors to resample"
        )


def _shorten(names: Sequence[str], most: int = 12) -> str:
    listed = ", ".join(plain(name) for name in names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
