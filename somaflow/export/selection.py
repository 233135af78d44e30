"""Which tiles of which inference to export, and what is wrong with that choice."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from somaflow.errors import BadInputError, StoreError
from somaflow.ledger import TileRecord, verified_record
from somaflow.paths import RunPaths


@dataclass(frozen=True)
class Selection:
    """What to export.

    Attributes:
        donors: all tiles of these donors.
        tile_ids: these tiles as well.
        every: all tiles of the inference, instead.
        key: of the inference; None = the only one there is.
        skip_unsegmented: leave out tiles that have no labels, instead of refusing them.
    """

    donors: Sequence[str] = ()
    tile_ids: Sequence[str] = ()
    every: bool = False
    key: str | None = None
    skip_unsegmented: bool = False


def find_key(paths: RunPaths, key: str | None) -> str:
    """The key of the inference to export from.

    Raises:
        StoreError: if the study has no inference yet.
        BadInputError: if there are several and none was chosen, or the chosen one is not there.
    """
    keys = paths.inference_keys()
    if not keys:
        raise StoreError(
            f"a study must have an inference to export from, found none in {paths.output}; "
            "run e5-inference"
        )
    if key is None and len(keys) > 1:
        raise BadInputError(
            f"one inference must be chosen, {paths.output} has {len(keys)}: {', '.join(keys)}; "
            "name one with --key (`status` says what each holds)"
        )
    if key is not None and key not in keys:
        raise BadInputError(
            f"key must be one of {', '.join(keys)} in {paths.output}, got {key!r}; "
            "`status` lists them"
        )
    return key or keys[0]


def select_rows(plan: pd.DataFrame, selection: Selection) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the plan that were chosen, and a line for each name that is not in it.

    Raises:
        BadInputError: if nothing was named, or names were given along with `every`.
    """
    named = bool(selection.donors or selection.tile_ids)
    if named == selection.every:
        found = "both" if named else "neither"
        raise BadInputError(
            f"either donors and tiles must be named or all tiles asked for, got {found}; "
            "give --donor or --tile, once for each, or --all"
        )
    chosen = plan["donor"].isin(list(selection.donors)) | plan["tile_id"].isin(
        list(selection.tile_ids)
    )
    rows = plan if selection.every else plan[chosen]
    return rows, [
        *_find_unknown(plan["donor"], "donor", selection.donors),
        *_find_unknown(plan["tile_id"], "tile", selection.tile_ids),
    ]


def find_unsegmented(paths: RunPaths, key: str, rows: pd.DataFrame) -> dict[str, str]:
    """Why tiles have no labels, by tile_id; tiles that have some are not in it."""
    reasons = {}
    for shard, tiles in rows.groupby("shard"):
        record = verified_record(paths, key, int(str(shard)))
        entries = {} if record is None else {entry.tile_id: entry for entry in record.tiles}
        for tile_id in tiles["tile_id"]:
            if reason := _explain(tile_id, int(str(shard)), entries.get(tile_id)):
                reasons[tile_id] = reason
    return reasons


def _explain(tile_id: str, shard: int, entry: TileRecord | None) -> str:
    """Why a tile has no labels; "" if it has."""
    if entry is None:
        return (
            f"tile must be segmented, {tile_id} lies in shard {shard}, which is not done or was "
            "damaged; run e5-inference"
        )
    if entry.quarantined:
        return (
            f"tile must have labels, {tile_id} was quarantined ({entry.quarantined}); mend it and "
            "run e5-inference with --retry-quarantined, or leave it out"
        )
    return ""


def _find_unknown(column: pd.Series, what: str, names: Sequence[str]) -> list[str]:
    known = sorted(set(column) - {""})
    some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    return [
        f"{what} must be one of the {len(known)} {what}s of the inference ({some}), got {name!r}; "
        "see tiles.parquet in the study's outputs"
        for name in dict.fromkeys(names)
        if name not in known
    ]
