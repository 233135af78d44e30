"""E1 as tasks: score a recipe on one split and marker, draw what it found."""

from pathlib import Path

import pandas as pd
from prefect import task

from somaflow.evaluation.scoring import read_prepared, score_tiles
from somaflow.figures import draw_overlay
from somaflow.files import write_bytes
from somaflow.preparation import open_prepared
from somaflow.recipes import Recipe
from tasks.caching import can_heal
from tasks.models import Device, worker_segmenter


@task(
    task_run_name="{recipe.name} on {split} {marker}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
def score_marker(
    folder: Path, recipe: Recipe, split: str, marker: str, device: Device, iou_threshold: float
) -> pd.DataFrame:
    """Counts of one recipe on the tiles of one marker and split, one row an image."""
    prepared = open_prepared(folder)
    chosen = prepared[(prepared.split == split) & (prepared.marker == marker)]
    return score_tiles(chosen, folder, recipe, worker_segmenter(recipe, device), iou_threshold)


@task(
    task_run_name="overlays of {recipe.name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
def draw_overlays(
    folder: Path, recipe: Recipe, tile_ids: list[str], device: Device, target: Path
) -> list[Path]:
    """Writes a picture of each tile: image, reference and predicted outlines."""
    prepared = open_prepared(folder)
    segmenter = worker_segmenter(recipe, device)
    written = []
    for row in prepared[prepared.tile_id.isin(tile_ids)].itertuples():
        image, reference = read_prepared(row, folder)
        predicted = segmenter.segment([image], recipe)[0]
        title = f"{row.marker}, {row.split} tile {row.tile_id}, recipe {recipe.name}"
        picture = draw_overlay(image, predicted, reference=reference, title=title)
        path = target / f"{row.marker}-{row.tile_id}.png"
        write_bytes(path, picture)
        written.append(path)
    return written
