"""The page of a diagnosis, in plain words with their numbers.

Enters: a `Diagnosis`. Leaves: Markdown.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from somaflow.experiments.diagnosis import (
    BELOW_CELLPROB,
    BY_FLOW,
    BY_GATE,
    BY_SIZE,
    CAUSES,
    FOUND,
    IN_PART,
    MERGED,
    OUTLINE,
    Diagnosis,
    Sizes,
    ThresholdChange,
)

_MAX_TILES = 12
_NOTICEABLE = 0.15
_THRESHOLD_WORDS = {
    "cellprob_threshold": "cell probability threshold",
    "flow_threshold": "flow threshold",
    "min_size_px": "min size (px)",
}


def write_page(diagnosis: Diagnosis) -> str:
    """The whole page, from the short answer to the tables."""
    parts = [
        f"### {diagnosis.marker} under {diagnosis.recipe.name}, on val",
        _in_short(diagnosis),
        "#### Predicted against reference, tile by tile",
        _tiles(diagnosis),
        f"#### What became of the {diagnosis.n_reference} reference cells",
        _causes(diagnosis),
        "#### Cell probability and size",
        _cellprob(diagnosis),
        _sizes(diagnosis),
        "#### One threshold changed, the others as they are",
        _changes(diagnosis),
        f"#### Recipes on {diagnosis.marker}, on val",
        _recipes(diagnosis),
    ]
    return "\n\n".join(parts) + "\n"


def _in_short(diagnosis: Diagnosis) -> str:
    found, n_reference = diagnosis.causes[FOUND], diagnosis.n_reference
    words = (
        f"**In short:** {found} of {_count(n_reference, 'reference cell')} are found "
        f"({_percent(found, n_reference)}), and {diagnosis.n_predicted - found} of "
        f"{_count(diagnosis.n_predicted, 'predicted cell')} are wrong."
    )
    cause = diagnosis.main_cause
    if cause == FOUND:
        words += " No reference cell is lost."
    else:
        words += (
            f" The most frequent loss: {_cause_words(diagnosis)[cause]} "
            f"({diagnosis.causes[cause]} of {n_reference - found} lost cells)."
        )
    if diagnosis.n_predicted - found > n_reference - found:
        words += " Wrong cells weigh more than lost ones."
    words += f" {_best_change(diagnosis.changes)}"
    return words + (f" {_best_recipe(diagnosis)}" if len(diagnosis.recipes) else "")


def _best_change(changes: Sequence[ThresholdChange]) -> str:
    if not changes:
        return "No other value of a single threshold that was tried raises F1."
    best = changes[0]
    return (
        f"The single change that helps most: {_THRESHOLD_WORDS[best.threshold]} from "
        f"{_value(best.threshold, best.now)} to {_value(best.threshold, best.then)}, F1 "
        f"{best.f1_now:.3f} to {best.f1_then:.3f} ({best.gain:+.3f})."
    )


def _best_recipe(diagnosis: Diagnosis) -> str:
    best: dict[Any, Any] = diagnosis.recipes.iloc[0].to_dict()
    words = f"Of the recipes, {best['recipe']} does best: F1 {_with_interval(best, 'f1_pooled')}"
    name = "f1_pooled_difference"
    if name not in best or math.isnan(best[name]) or best[name] == 0:
        return words + "."
    low, high = (best.get(f"{name}_{end}", math.nan) for end in ("low", "high"))
    words += f", {_with_interval(best, name, sign='+')} against the baseline"
    if math.isnan(low) or math.isnan(high):
        return words + "."
    return words + (
        "; the interval leaves out 0." if low > 0 or high < 0 else "; the interval includes 0."
    )


def _tiles(diagnosis: Diagnosis) -> str:
    tiles = diagnosis.tiles
    rows: Iterable[Any] = tiles.head(_MAX_TILES).itertuples()
    table = _table(
        ["tile", "reference", "predicted", "right"],
        [[row.tile_id, row.n_reference, row.n_predicted, row.tp] for row in rows],
    )
    if len(tiles) > _MAX_TILES:
        table += f"\n\nand {len(tiles) - _MAX_TILES} more tiles."
    n_empty = int(((tiles["n_predicted"] == 0) & (tiles["n_reference"] > 0)).sum())
    n_fewer = int((tiles["n_predicted"] < tiles["n_reference"]).sum())
    n_more = int((tiles["n_predicted"] > tiles["n_reference"]).sum())
    return (
        f"{_count(len(tiles), 'tile')}: too few cells in {n_fewer}, too many in {n_more}; in "
        f"{n_empty} nothing is predicted at all. A tile has {tiles['n_reference'].median():g} "
        f"reference and {tiles['n_predicted'].median():g} predicted cells (medians).\n\n{table}"
    )


def _causes(diagnosis: Diagnosis) -> str:
    words = _cause_words(diagnosis)
    names = [FOUND, *(name for name in CAUSES if name != BY_GATE or diagnosis.recipe.gate)]
    rows = [
        [words[name], diagnosis.causes[name], _percent(diagnosis.causes[name], total)]
        for total in [diagnosis.n_reference]
        for name in names
    ]
    rows.append(["all reference cells", diagnosis.n_reference, "100 %"])
    return _table(["what became of it", "cells", "share"], rows)


def _cause_words(diagnosis: Diagnosis) -> dict[str, str]:
    recipe = diagnosis.recipe
    return {
        FOUND: "found",
        BELOW_CELLPROB: "never proposed, since the cell probability of most of the cell is not "
        f"above the threshold of {recipe.cellprob_threshold:g}",
        IN_PART: "proposed in part only, such as its nucleus, since the cell probability of most "
        f"of the cell is not above {recipe.cellprob_threshold:g}",
        BY_FLOW: "proposed and well outlined, then removed by the flow check (flow error above "
        f"{recipe.flow_threshold:g})",
        BY_SIZE: "proposed and well outlined, then removed as smaller than "
        f"{recipe.min_size_px} px",
        MERGED: "proposed as part of a much larger object (merged with a neighbour)",
        OUTLINE: "proposed, but outlined too badly to count",
        BY_GATE: "segmented, then removed by the gate",
    }


def _cellprob(diagnosis: Diagnosis) -> str:
    threshold = diagnosis.recipe.cellprob_threshold
    return (
        "The median cell probability (logit) inside a reference cell is "
        f"{_number(diagnosis.cellprob_found)} where it is found and "
        f"{_number(diagnosis.cellprob_missed)} where it is missed; the threshold is {threshold:g}."
    )


def _sizes(diagnosis: Diagnosis) -> str:
    reference, predicted = diagnosis.reference_sizes, diagnosis.predicted_sizes
    words = f"Reference cells measure {_area(reference)}, predicted ones {_area(predicted)}."
    if math.isnan(predicted.median_px) or not reference.median_px > 0:
        return words
    ratio = predicted.median_px / reference.median_px - 1
    if abs(ratio) < _NOTICEABLE:
        return words + " The sizes agree."
    kind = "larger" if ratio > 0 else "smaller"
    return words + f" Predicted cells are {100 * abs(ratio):.0f} % {kind} than they should be."


def _area(sizes: Sizes) -> str:
    if math.isnan(sizes.median_px):
        return "nothing, as there are none"
    return (
        f"{sizes.median_px:.0f} px (median; middle half {sizes.lower_quartile_px:.0f} to "
        f"{sizes.upper_quartile_px:.0f} px)"
    )


def _changes(diagnosis: Diagnosis) -> str:
    if not diagnosis.best_setting:
        return "No thresholds were tried for this recipe and marker."
    best = diagnosis.best_setting
    setting = ", ".join(
        f"{_THRESHOLD_WORDS[name]} {_value(name, best[name])}" for name in _THRESHOLD_WORDS
    )
    together = f"All three together: {setting}, F1 {best['f1_pooled']:.3f}."
    if not diagnosis.changes:
        return f"{_best_change(())} {together}"
    rows = [
        [
            _THRESHOLD_WORDS[change.threshold],
            _value(change.threshold, change.now),
            _value(change.threshold, change.then),
            f"{change.f1_now:.3f}",
            f"{change.f1_then:.3f} ({change.gain:+.3f})",
            f"{change.precision_then:.3f}",
            f"{change.recall_then:.3f}",
        ]
        for change in diagnosis.changes
    ]
    heading = ["threshold", "now", "best", "F1 now", "F1 then", "precision then", "recall then"]
    return f"{_table(heading, rows)}\n\n{together}"


def _recipes(diagnosis: Diagnosis) -> str:
    if diagnosis.recipes.empty:
        return "No recipe was scored on val."
    rows: list[dict[Any, Any]] = diagnosis.recipes.to_dict("records")
    return _table(
        ["recipe", "F1 pooled", "difference from the baseline"],
        [
            [
                row["recipe"],
                _with_interval(row, "f1_pooled"),
                _with_interval(row, "f1_pooled_difference", sign="+"),
            ]
            for row in rows
        ],
    )


def _with_interval(row: dict[Any, Any], name: str, sign: str = "") -> str:
    value, low, high = (row.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "-"
    if math.isnan(low) or math.isnan(high):
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _value(threshold: str, value: float) -> str:
    return "off" if threshold == "flow_threshold" and value == 0 else f"{value:g}"


def _number(value: float) -> str:
    return "undefined (there is none)" if math.isnan(value) else f"{value:.2f}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
