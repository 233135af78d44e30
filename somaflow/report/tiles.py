"""Tiles as they were found, split and segmented: the report's pages of E0 and of E5.

Enters: the evidence. Leaves: a page each.
"""

import pandas as pd

from somaflow.experiments.results import Results
from somaflow.report.evidence import Evidence, Inferred
from somaflow.report.markup import plain, show

_SPLITS = ("train", "val", "test")


def describe_preparation(evidence: Evidence) -> Results | None:
    """Tiles per marker and donor, and the splits; None where e0-prepare has not run."""
    tiles = evidence.tiles
    if tiles is None:
        return None
    page = Results("Tiles and splits")
    counts = tiles.status.value_counts()
    words = ", ".join(f"{count:,} {plain(status)}" for status, count in counts.items())
    page.add_words(f"{len(tiles):,} tiles found: {words}.")
    table = tiles.assign(donor=tiles.donor.replace("", "unknown"))
    usable = table[table.status == "ok"]
    by_donor = usable.groupby(["source", "donor", "marker"], sort=True).size()
    page.tables["tiles-per-donor"] = by_donor.rename("n_tiles").reset_index()
    wide = by_donor.unstack("marker", fill_value=0)
    for source, rows in wide.groupby(level="source"):
        shown = rows.droplevel("source")
        total = shown.sum(axis=1)
        page.add_words(f"### Usable tiles per donor and marker ({plain(source)})")
        shown.loc[f"all {len(shown)} donors"] = shown.sum()
        shown["all markers"] = [*total, total.sum()]
        text = show(shown.rename_axis(columns=None).reset_index())
        page.add_table("tiles-per-donor", page.tables["tiles-per-donor"], text)
    _add_splits(page, evidence)
    return page


def _add_splits(page: Results, evidence: Evidence) -> None:
    prepared = evidence.prepared
    if prepared is None:
        page.add_words("### Splits\n\nNo labelled tile was prepared: nothing is split.")
        return
    level = str(prepared.split_level.iloc[0])
    meaning = {
        "donor": "every donor, with all of its tiles, is in one split alone",
        "image": "tiles of one donor may be in several splits",
    }
    page.add_words(f"### Splits\n\nThe splits are {level}-level: {meaning[level]}.")
    counts = prepared.groupby(["split", "marker"], sort=False).agg(
        n_tiles=("tile_id", "size"), n_donors=("donor", "nunique"), n_cells=("n_cells", "sum")
    )
    overall = prepared.groupby("split", sort=False).agg(
        n_tiles=("tile_id", "size"), n_donors=("donor", "nunique"), n_cells=("n_cells", "sum")
    )
    overall.index = pd.MultiIndex.from_product([overall.index, ["all"]], names=["split", "marker"])
    table = pd.concat([overall, counts]).reset_index()
    table["order"] = table.split.map({name: place for place, name in enumerate(_SPLITS)})
    table = table.sort_values(["order", "marker"], key=_all_first).drop(columns="order")
    names = {"n_tiles": "tiles", "n_donors": "donors", "n_cells": "labelled cells"}
    page.add_table("splits", table, show(table.rename(columns=names)))


def _all_first(values: pd.Series) -> pd.Series:
    return values.map(lambda value: "" if value == "all" else value)


def describe_inference(evidence: Evidence) -> Results | None:
    """Totals of each inference, and tiles that it set aside; None where there is none."""
    if not evidence.inferences:
        return None
    page = Results("Segmentation of all tiles")
    totals = pd.DataFrame([_count_all(item) for item in evidence.inferences])
    page.add_words(
        "Every tile is in exactly one committed shard; a tile that could not be segmented is "
        "quarantined, counted and named."
    )
    page.add_table("totals", totals, show(totals))
    by_marker = pd.concat([_count_markers(item) for item in evidence.inferences])
    page.add_words("### By marker")
    page.add_table("by-marker", by_marker, show(by_marker))
    bad = pd.concat([_list_quarantined(item) for item in evidence.inferences])
    page.add_words(f"### Quarantined tiles\n\n{'None.' if bad.empty else f'{len(bad)} in all.'}")
    if len(bad):
        page.add_table("quarantined", bad, show(bad.head(50)))
    return page


def _count_all(item: Inferred) -> dict[str, object]:
    status = item.status
    return {
        "inference": item.key,
        "recipe": str(item.run.get("recipe_name", item.run.get("recipe", {}).get("name", "-"))),
        "weights_sha256": item.weights,
        "n_tiles": status.tiles,
        "n_tiles_done": status.tiles_done,
        "n_shards": status.shards,
        "n_shards_done": status.shards_done,
        "n_cells": status.cells,
        "n_quarantined": len(status.quarantined),
        "device": ", ".join(sorted({record.device for record in item.records})) or "-",
    }


def _count_markers(item: Inferred) -> pd.DataFrame:
    tiles = item.tiles.assign(is_bad=lambda table: table.quarantined != "")
    counts = tiles.groupby("marker", sort=True).agg(
        n_tiles=("tile_id", "size"),
        n_donors=("donor", "nunique"),
        n_cells=("n_cells", "sum"),
        n_quarantined=("is_bad", "sum"),
    )
    used = counts.n_tiles - counts.n_quarantined
    counts["n_cells_per_tile"] = (counts.n_cells / used.where(used > 0)).round(1)
    counts = counts.reset_index()
    counts.insert(0, "inference", item.key)
    return counts


def _list_quarantined(item: Inferred) -> pd.DataFrame:
    tiles = item.tiles
    bad = tiles[tiles.quarantined != ""].rename(columns={"quarantined": "reason"})
    bad = bad[["tile_id", "donor", "marker", "region", "reason"]]
    return bad.assign(inference=item.key)
