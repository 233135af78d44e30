"""Scores over images, with donor-bootstrap intervals, for one table of counts or a pair of them.

Enters: tables with a row an image (tp, fp, fn and, where known, tile_id and donor). Leaves: a row
a group with the five metrics and their 95 % intervals, or their paired differences.
Refuses: tables without counts, counts that contradict each other, pairs on different tiles.

Aggregation is in every name. ``*_pooled`` adds TP, FP and FN over images first; ``ap50_image_mean``
is the unweighted mean of TP / (TP + FP + FN) over images. The two can disagree about which of two
models is better, so neither goes by the bare name.

Empty against empty: an image with no reference and no predicted cell agrees perfectly, so its AP50
is 1, and a pooled ratio 0/0 is 1 when both sides are empty. Otherwise 0/0 is NaN: precision when
nothing was predicted but something was there, recall when nothing was there but something was
predicted. F1 = 2 TP / (2 TP + FP + FN) is then 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.bootstrap import METRICS, metric_values, resample_metrics, unit_sums

_COUNTS = ["tp", "fp", "fn"]
_TOTALS = {"n_reference": "fn", "n_predicted": "fp"}
_INTERVAL = (2.5, 97.5)


def summarise(
    counts: pd.DataFrame,
    by: str | Sequence[str] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns the five metrics of each group with 95 % percentile-bootstrap intervals.

    Donors are drawn with replacement, each with all its images. A group where any row has no donor
    (or says ``split_level == "image"``) draws images instead, and `bootstrap_unit` says so: such
    intervals are too narrow, since images of one donor resemble each other. A resample in which a
    metric is undefined (see the module) is left out of that metric's interval. Every group starts
    from `seed`, so its row does not depend on which other groups the table holds.

    Args:
        counts: a row an image; tp, fp, fn (integers >= 0) are required, n_reference and
            n_predicted are checked against them, donor and split_level are used where present.
        by: column or columns to group by; None gives one row over all images.
        n_resamples: bootstrap resamples, >= 1.
        seed: of the resamples; equal seeds give equal intervals.

    Returns:
        A row a group in order of first appearance: the `by` columns, n_images, n_donors, tp, fp,
        fn, n_reference, n_predicted, then ap50_image_mean, ap50_pooled, precision_pooled,
        recall_pooled and f1_pooled, each followed by its `_low` and `_high`, and bootstrap_unit:
        "donor", "image", or "none" (NaN intervals) where there are fewer than two units.

    Raises:
        ScoringError: if the table is empty, lacks a column, or its counts contradict each other.
    """
    rows = []
    for keys, group in _groups(_checked(counts, by), by):
        units = find_units(group)
        values, draws = _estimate(group, units, n_resamples, seed)
        rows.append(
            keys | _totals(group) | describe_draws(values, draws) | {"bootstrap_unit": units.kind}
        )
    return pd.DataFrame(rows)


def compare(
    counts_a: pd.DataFrame,
    counts_b: pd.DataFrame,
    by: str | Sequence[str] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns the paired differences b minus a of the five metrics, on the same tiles.

    Both tables are resampled with the same donors at once, so what a hard donor costs both models
    cancels; the interval is that of the difference.

    Args:
        counts_a: a row an image, as for `summarise`, with tile_id; each tile once a group.
        counts_b: the same tiles, scored with another model or recipe.
        by: column or columns to group by; None gives one row over all images.
        n_resamples: bootstrap resamples, >= 1.
        seed: of the resamples, the same ones as in `summarise`.

    Returns:
        A row a group in order of first appearance in `counts_a`: the `by` columns, n_images,
        n_donors, n_reference, then <metric>_difference, <metric>_difference_low and
        <metric>_difference_high for each metric of `summarise`, and bootstrap_unit.

    Raises:
        ScoringError: if the tables hold different tiles, a tile twice, or a tile with another
            donor or number of reference cells.
    """
    a, b = _matched(_checked(counts_a, by), _checked(counts_b, by), _columns(by))
    rows = []
    for keys, group_a in _groups(a, by):
        group_b, units = b.loc[group_a.index], find_units(group_a)
        values_a, draws_a = _estimate(group_a, units, n_resamples, seed)
        values_b, draws_b = _estimate(group_b, units, n_resamples, seed)
        sizes = {key: _totals(group_a)[key] for key in ("n_images", "n_donors", "n_reference")}
        differences = describe_draws(values_b - values_a, draws_b - draws_a, "_difference")
        rows.append(keys | sizes | differences | {"bootstrap_unit": units.kind})
    return pd.DataFrame(rows)


class Units(NamedTuple):
    """What is drawn: `kind` donor, image or none; `members` (I,) says which unit an image is in."""

    kind: str
    members: np.ndarray
    n_units: int


def find_units(group: pd.DataFrame) -> Units:
    """Returns the bootstrap units of a group; sorted, so that the order of rows does not matter."""
    donors = donors_of(group)
    by_image = "split_level" in group and bool((group["split_level"] == "image").any())
    if by_image or donors.isna().any():
        kind, names = "image", _image_names(group)
    else:
        kind, names = "donor", donors
    members, units = pd.factorize(names.to_numpy(dtype=object), sort=True)
    return Units(kind if len(units) > 1 else "none", members, len(units))


def _image_names(group: pd.DataFrame) -> pd.Series:
    if "tile_id" in group and group["tile_id"].is_unique:
        return group["tile_id"].astype(str)
    return pd.Series(np.arange(len(group)))


def donors_of(group: pd.DataFrame) -> pd.Series:
    """Returns the donor of each row as a string, missing where there is none."""
    if "donor" not in group:
        return pd.Series(pd.NA, index=group.index, dtype="string")
    donors = group["donor"].astype("string").str.strip()
    return donors.mask(donors == "")


def _estimate(
    group: pd.DataFrame, units: Units, n_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the metrics (5,) of a group and of its resamples (n_resamples, 5)."""
    sums = unit_sums(group[_COUNTS].to_numpy(dtype=np.float64), units.members, units.n_units)
    values = metric_values(sums.sum(axis=0))
    if units.kind == "none":
        return values, np.full((1, len(METRICS)), np.nan)
    return values, resample_metrics(sums, n_resamples, seed)


def describe_draws(values: np.ndarray, draws: np.ndarray, suffix: str = "") -> dict[str, float]:
    """Returns each metric with the 95 % interval of its resamples; undefined ones are left out.

    Args:
        values: (5,) metrics, in the order of `METRICS`.
        draws: (B, 5) metrics of the resamples.
        suffix: of the names.
    """
    row: dict[str, float] = {}
    for metric, value, column in zip(METRICS, values, draws.T, strict=True):
        defined = column[~np.isnan(column)]
        low, high = np.percentile(defined, _INTERVAL) if defined.size else (np.nan, np.nan)
        name = f"{metric}{suffix}"
        row |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def _totals(group: pd.DataFrame) -> dict[str, int]:
    counts = ["tp", "fp", "fn", "n_reference", "n_predicted"]
    sizes = {"n_images": len(group), "n_donors": int(donors_of(group).nunique())}
    return sizes | {name: int(group[name].sum()) for name in counts}


def _columns(by: str | Sequence[str] | None) -> list[str]:
    return [] if by is None else [by] if isinstance(by, str) else list(by)


def _groups(
    counts: pd.DataFrame, by: str | Sequence[str] | None
) -> list[tuple[dict[str, object], pd.DataFrame]]:
    columns = _columns(by)
    if not columns:
        return [({}, counts)]
    grouped = counts.groupby(columns, sort=False, dropna=False, observed=True)
    return [(dict(zip(columns, keys, strict=True)), group) for keys, group in grouped]


def _checked(counts: pd.DataFrame, by: str | Sequence[str] | None) -> pd.DataFrame:
    """Returns the table with n_reference and n_predicted, once its counts hold together."""
    missing = [name for name in [*_COUNTS, *_columns(by)] if name not in counts]
    if missing:
        raise ScoringError(
            f"counts must have a column {', '.join(missing)}; found {', '.join(map(str, counts))}"
        )
    if counts.empty:
        raise ScoringError("counts must have a row an image, got an empty table; score tiles first")
    values = counts[_COUNTS].to_numpy(dtype=np.float64, na_value=np.nan)
    if not (np.isfinite(values) & (values >= 0) & (values == np.round(values))).all():
        raise ScoringError(
            "tp, fp and fn must be whole numbers >= 0; find rows that are missing, negative or "
            "scores rather than counts"
        )
    whole = counts.reset_index(drop=True)
    for total, unmatched in _TOTALS.items():
        expected = whole["tp"] + whole[unmatched]
        if total in whole and not (whole[total] == expected).all():
            row = whole.index[whole[total] != expected][0]
            raise ScoringError(
                f"{total} must equal tp + {unmatched}, got {whole[total][row]} and "
                f"{expected[row]} in row {row}; the table mixes two scorings"
            )
        whole = whole.assign(**{total: expected})
    return whole


def _matched(
    counts_a: pd.DataFrame, counts_b: pd.DataFrame, by: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns both tables with the same tile in the same row, in the order of a."""
    keys = [*[name for name in by if name != "tile_id"], "tile_id"]
    tables = []
    for name, table in (("counts_a", counts_a), ("counts_b", counts_b)):
        if "tile_id" not in table:
            raise ScoringError(f"{name} must have a column tile_id to be compared tile by tile")
        table = table.set_index(keys, drop=False)
        if table.index.has_duplicates:
            twice = list(table.loc[table.index.duplicated(), "tile_id"].unique())
            raise ScoringError(
                f"{name} must have each tile once, found twice: {_some(twice)}; "
                "group by what tells the rows apart, or select one recipe"
            )
        tables.append(table)
    a, b = tables
    only = {"counts_a": a.index.difference(b.index), "counts_b": b.index.difference(a.index)}
    found = [
        f"only in {name}: {_some(list(index.get_level_values('tile_id')))}"
        for name, index in only.items()
        if len(index)
    ]
    if found:
        raise ScoringError(
            f"both tables must hold the same tiles in each group, found {'; '.join(found)}; "
            "score the missing tiles, or select the tiles that both have"
        )
    b = b.loc[a.index]
    _check_same(a, b)
    # Names on both the index and the columns would make grouping by them ambiguous.
    return a.reset_index(drop=True), b.reset_index(drop=True)


def _check_same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pairs = {"n_reference": (a["n_reference"], b["n_reference"])}
    if "donor" in a and "donor" in b:
        pairs["donor"] = (donors_of(a).fillna(""), donors_of(b).fillna(""))
    for name, (left, right) in pairs.items():
        differ = left.to_numpy() != right.to_numpy()
        if differ.any():
            raise ScoringError(
                f"a tile must have the same {name} in both tables, differs for "
                f"{_some(list(a['tile_id'][differ]))}; score both against the same labels"
            )


def _some(names: list[object]) -> str:
    shown = ", ".join(str(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
