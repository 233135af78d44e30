"""The label-budget curve with its uncertainty, and what the next budget is worth.

Enters: counts of every run, a row an image, with its budget and repeat, on one split. Leaves: a row
a budget and marker, or a pair of budgets and marker. Refuses: several splits at once, runs that
were not scored on the same tiles.

Intervals come from a two-level bootstrap: donors and repeats are each drawn with replacement. All
runs see the same drawn donors and all budgets the same drawn repeats, so differences are paired.
With few repeats such intervals are a little too narrow: n repeats spread by (n - 1) / n of the
variance they came from. A run that failed has no rows and only lowers `n_repeats`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from somaflow.errors import ScoringError
from somaflow.evaluation.bootstrap import METRICS, metric_values, resample_metrics, unit_sums
from somaflow.evaluation.pooling import add_overall, check_counts
from somaflow.evaluation.scores import OVERALL
from somaflow.evaluation.summary import describe_draws, donors_of, find_units

PREVIOUS, LARGEST = "previous", "largest"
_COLUMNS = ["budget", "repeat", "marker", "tile_id", "donor", "split"]


class _Runs(NamedTuple):
    """All runs of one marker, K budgets by R repeats; M metrics, B resamples.

    `values` (K, R, M) and `draws` (B, K, R, M) are NaN where a run is missing, `present` (K, R)
    says which are there, `repeat_weights` (B, R) how often each repeat was drawn.
    """

    sizes: dict[str, object]
    budgets: list[int]
    values: np.ndarray
    draws: np.ndarray
    present: np.ndarray
    repeat_weights: np.ndarray


def budget_curve(counts: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Returns the mean score over repeats of each budget, with sd and 95 % interval.

    Args:
        counts: a row a run and image: budget, repeat, marker, tile_id, donor, split (one), tp,
            fp, fn. Rows of a budget that equals a smaller one are those of the smaller, again.
        n_resamples: bootstrap resamples.
        seed: of the resamples.

    Returns:
        A row a marker (first "all") and budget: split, marker, n_images, n_donors,
        bootstrap_unit ("donor", "image" where a donor is unknown, "none": NaN intervals), budget,
        n_repeats, then each of the five metrics (mean over repeats) with its `_sd` over repeats
        (n - 1; NaN for one), `_low` and `_high`. What is undefined in one repeat is NaN.

    Raises:
        ScoringError: if there are several splits, or runs scored on different tiles.
    """
    rows = []
    for runs in _resampled(counts, n_resamples, seed):
        for place, budget in enumerate(runs.budgets):
            there = runs.present[place]
            values = runs.values[place][there]
            sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(METRICS), np.nan)
            means = _drawn_means(runs.draws[:, place], runs.repeat_weights * there)
            scores = _scores(_mean(values), means)
            spread = {f"{metric}_sd": float(x) for metric, x in zip(METRICS, sd, strict=True)}
            sizes = {"budget": budget, "n_repeats": int(there.sum())}
            rows.append(runs.sizes | sizes | _in_order(scores | spread))
    return pd.DataFrame(rows)


def budget_gains(counts: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Returns what each budget scores above the previous one and above the largest.

    The difference is budget minus `versus_budget`, over the repeats that have both: against the
    previous one, what more labels brought; against the largest, what is still missing (negative).

    Args:
        counts: as for `budget_curve`.
        n_resamples: bootstrap resamples.
        seed: of the resamples, the same ones as in `budget_curve`.

    Returns:
        A row a marker (first "all") and pair: split, marker, n_images, n_donors, bootstrap_unit,
        versus ("previous" or "largest"), budget, versus_budget, n_repeats, then
        <metric>_difference with `_low` and `_high` for each metric.

    Raises:
        ScoringError: as `budget_curve`.
    """
    rows = []
    for runs in _resampled(counts, n_resamples, seed):
        last = len(runs.budgets) - 1
        pairs = [(PREVIOUS, place, place - 1) for place in range(1, last + 1)]
        pairs += [(LARGEST, place, last) for place in range(last)]
        for versus, a, b in pairs:
            both = runs.present[a] & runs.present[b]
            values = _mean((runs.values[a] - runs.values[b])[both])
            differences = runs.draws[:, a] - runs.draws[:, b]
            means = _drawn_means(differences, runs.repeat_weights * both)
            names = {
                "versus": versus,
                "budget": runs.budgets[a],
                "versus_budget": runs.budgets[b],
                "n_repeats": int(both.sum()),
            }
            rows.append(runs.sizes | names | _scores(values, means, "_difference"))
    return pd.DataFrame(rows)


def _resampled(counts: pd.DataFrame, n_resamples: int, seed: int) -> Iterator[_Runs]:
    check_counts(counts, _COLUMNS)
    _check_runs(counts)
    budgets = sorted(int(budget) for budget in counts["budget"].unique())
    repeats = sorted(int(repeat) for repeat in counts["repeat"].unique())
    # The donors' draws start from the seed alone, as everywhere; the repeats' are others.
    rng = np.random.default_rng((seed, 1))
    chances = np.full(len(repeats), 1 / len(repeats))
    weights = rng.multinomial(len(repeats), chances, size=n_resamples)
    both = add_overall(counts)
    for marker in [OVERALL, *sorted(counts["marker"].unique())]:
        group = both[both["marker"] == marker]
        tiles = group.drop_duplicates("tile_id")
        units = find_units(tiles)
        unit_of = dict(zip(tiles["tile_id"], units.members, strict=True))
        shape = (len(budgets), len(repeats), len(METRICS))
        values, present = np.full(shape, np.nan), np.zeros(shape[:2], dtype=np.bool_)
        draws = np.full((n_resamples, *shape), np.nan)
        for keys, rows in group.assign(_unit=group["tile_id"].map(unit_of)).groupby(
            ["budget", "repeat"]
        ):
            place = budgets.index(keys[0]), repeats.index(keys[1])
            numbers = rows[["tp", "fp", "fn"]].to_numpy(dtype=np.float64)
            sums = unit_sums(numbers, rows["_unit"].to_numpy(), units.n_units)
            values[place], present[place] = metric_values(sums.sum(axis=0)), True
            if units.kind != "none":
                draws[:, *place] = resample_metrics(sums, n_resamples, seed)
        sizes = {
            "split": group["split"].iloc[0],
            "marker": marker,
            "n_images": len(tiles),
            "n_donors": int(donors_of(tiles).nunique()),
            "bootstrap_unit": units.kind,
        }
        yield _Runs(sizes, budgets, values, draws, present, weights)


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over repeats (R, M) -> (M,), NaN where there are none."""
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)


def _drawn_means(draws: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean over drawn repeats, (B, R, M) with weights (B, R) -> (B, M).

    A repeat that was not drawn counts for nothing, whatever it holds; a resample in which none
    was drawn is NaN.
    """
    drawn = np.where(weights[:, :, np.newaxis] > 0, draws, 0)
    total = weights.sum(axis=1, dtype=np.float64)[:, np.newaxis]
    summed = (weights[:, :, np.newaxis] * drawn).sum(axis=1)
    return np.divide(summed, total, out=np.full_like(summed, np.nan), where=total > 0)


def _scores(values: np.ndarray, draws: np.ndarray, suffix: str = "") -> dict[str, float]:
    """Returns each metric (M,) with the interval of its resamples (B, M).

    Where the metric itself is undefined, so is its interval.
    """
    return describe_draws(values, np.where(np.isnan(values), np.nan, draws), suffix)


def _in_order(scores: dict[str, float]) -> dict[str, float]:
    """Returns the columns metric by metric: mean, sd, low, high."""
    ends = ("", "_sd", "_low", "_high")
    return {f"{metric}{end}": scores[f"{metric}{end}"] for metric in METRICS for end in ends}


def _check_runs(counts: pd.DataFrame) -> None:
    splits = sorted(counts["split"].astype(str).unique())
    if len(splits) > 1:
        raise ScoringError(
            f"a budget curve is of one split, got {', '.join(splits)}; select one of them"
        )
    tiles = {
        keys: sorted(group["tile_id"].astype(str))
        for keys, group in counts.groupby(["budget", "repeat"])
    }
    first = next(iter(tiles.values()))
    differ = [f"budget {b} repeat {r}" for (b, r), found in tiles.items() if found != first]
    if differ or len(set(first)) < len(first):
        raise ScoringError(
            f"every run must be scored once on the same tiles, {', '.join(differ[:5]) or 'all'} "
            "not; score these runs again"
        )
