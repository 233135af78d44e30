"""Scoring as tasks: a recipe on one split, and pictures of what it found."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import task

from somaflow.evaluation.scoring import read_prepared, score_tiles
from somaflow.figures import draw_comparison_rows
from somaflow.preparation import open_prepared
from somaflow.recipes import Recipe
from tasks.caching import can_heal
from tasks.models import Device, segmenter_loader
from tasks.privacy import discreet


@task(
    task_run_name="{recipe.name} on {split}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
@discreet
def score_split(
    folder: Path, recipe: Recipe, split: str, device: Device, iou_threshold: float
) -> pd.DataFrame:
    """Counts of one recipe on the tiles of one split, one row an image."""
    prepared = open_prepared(folder)
    chosen = prepared[prepared.split == split]
    return score_tiles(chosen, folder, recipe, segmenter_loader(device), iou_threshold)


@task(
    task_run_name="overlays of {names}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
@discreet
def draw_overlays(
    folder: Path, recipes: list[Recipe], names: str, tile_ids: list[str], device: Device
) -> bytes:
    """A picture with a row a tile: image, reference and what each recipe found, side by side.

    Rows are in the order of `order_tiles`; which tiles they are is said beside it, as text, where
    what goes to the dashboard can be kept from naming donors.
    """
    prepared = open_prepared(folder)
    load = segmenter_loader(device)
    rows = []
    chosen_tiles: Iterable[Any] = order_tiles(prepared, tile_ids).itertuples()
    for row in chosen_tiles:
        image, reference = read_prepared(row, folder)
        predictions = {}
        for recipe in recipes:
            chosen = recipe.for_marker(row.marker)
            predictions[recipe.name] = load(chosen).segment([image], chosen)[0]
        rows.append((image, reference, predictions, f"{row.marker}, {row.split} tile"))
    return draw_comparison_rows(rows)


def order_tiles(prepared: pd.DataFrame, tile_ids: list[str]) -> pd.DataFrame:
    """The chosen rows of the prepared tiles, in the order in which overlays show them."""
    return prepared[prepared.tile_id.isin(tile_ids)].sort_values("marker")
