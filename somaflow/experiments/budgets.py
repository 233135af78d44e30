"""Which tiles each run of the label-budget curve trains on.

Enters: budgets, repeats and the table of prepared tiles. Leaves: a `BudgetRun` each. Within a
repeat budgets are nested: what two tiles a marker teach is part of what five teach. A marker's
draw depends on the seed, the repeat, its name and its training tiles alone, so another marker, or
another list of budgets, moves no tile. Refuses: a table without training tiles.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from somaflow.errors import StudyError
from somaflow.settings import LabelBudgets


@dataclass(frozen=True)
class BudgetRun:
    """One run of the label-budget curve.

    Attributes:
        budget: training tiles a marker that were asked for.
        repeat: 0, 1, ...: which random draw.
        train_ids: tiles to train on, sorted.
        n_per_marker: training tiles of each marker; fewer than the budget where it is capped.
        capped: markers that have fewer training tiles than the budget, sorted.
        same_as: smaller budget of the same repeat with the same tiles, whose run stands for this
            one; None: to be run.
    """

    budget: int
    repeat: int
    train_ids: tuple[str, ...]
    n_per_marker: Mapping[str, int]
    capped: tuple[str, ...]
    same_as: int | None

    @property
    def name(self) -> str:
        """For example `budget-10-repeat-3`; unique in a plan."""
        return f"budget-{self.budget}-repeat-{self.repeat}"


def plan_budgets(settings: LabelBudgets, prepared: pd.DataFrame, seed: int) -> list[BudgetRun]:
    """Returns the runs of all repeats and budgets, a repeat's budgets in ascending order.

    A budget above what every marker has takes all training tiles; repeats of it then differ in
    nothing but what their training draws.

    Args:
        settings: budgets and number of repeats.
        prepared: rows of `prepared.parquet`; columns tile_id, split and marker.
        seed: of the draws.

    Raises:
        StudyError: if no tile is in the train split.
    """
    train = prepared[prepared["split"] == "train"]
    tiles = {
        str(marker): np.sort(group["tile_id"].to_numpy(dtype=str))
        for marker, group in train.groupby("marker", sort=True)
    }
    if not tiles:
        raise StudyError(
            "label budgets need tiles in the train split, found none among "
            f"{len(prepared)} prepared tiles; label more tiles or change splits"
        )
    runs = []
    for repeat in range(settings.repeats):
        orders = {
            marker: _generator(seed, repeat, marker).permutation(ids)
            for marker, ids in tiles.items()
        }
        first_with: dict[tuple[str, ...], int] = {}
        for budget in sorted(settings.budgets):
            run = _plan(budget, repeat, orders, first_with)
            first_with.setdefault(run.train_ids, budget)
            runs.append(run)
    return runs


def _plan(
    budget: int,
    repeat: int,
    orders: Mapping[str, np.ndarray],
    first_with: Mapping[tuple[str, ...], int],
) -> BudgetRun:
    drawn = {marker: order[:budget] for marker, order in orders.items()}
    train_ids = tuple(sorted(str(tile) for ids in drawn.values() for tile in ids))
    return BudgetRun(
        budget=budget,
        repeat=repeat,
        train_ids=train_ids,
        n_per_marker={marker: len(ids) for marker, ids in drawn.items()},
        capped=tuple(marker for marker, ids in drawn.items() if len(ids) < budget),
        same_as=first_with.get(train_ids),
    )


def _generator(seed: int, repeat: int, marker: str) -> np.random.Generator:
    # Python's own hash of a string changes from process to process.
    digest = int.from_bytes(hashlib.sha256(marker.encode()).digest()[:4], "big")
    return np.random.default_rng(np.random.SeedSequence((seed, repeat, digest)))
