"""E3 and E4 as tasks: one pass of a recipe over labelled tiles."""

from pathlib import Path

from prefect import task

from somaflow.experiments.sweeps import write_gate_tables, write_threshold_tables
from somaflow.preparation import open_prepared
from somaflow.recipes import Recipe
from somaflow.settings import ThresholdGrid
from tasks.caching import can_heal
from tasks.models import Device, net_loader
from tasks.privacy import discreet


@task(
    task_run_name="cells of {recipe.name} for gating",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
@discreet
def measure_gates(
    folder: Path,
    recipe: Recipe,
    splits: list[str],
    quantiles: list[float],
    device: Device,
    iou_threshold: float,
    target: Path,
) -> int:
    """Writes the gate tables of one recipe; returns the number of tiles."""
    prepared = open_prepared(folder)
    tiles = prepared[prepared.split.isin(splits)]
    load = net_loader(device)
    write_gate_tables(tiles, folder, recipe, load, quantiles, iou_threshold, target)
    return len(tiles)


@task(
    task_run_name="thresholds of {recipe.name} on {split}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
@discreet
def sweep_recipe(
    folder: Path,
    recipe: Recipe,
    split: str,
    grid: ThresholdGrid,
    device: Device,
    iou_threshold: float,
    target: Path,
) -> int:
    """Writes the threshold tables of one recipe; returns the number of tiles."""
    prepared = open_prepared(folder)
    tiles = prepared[prepared.split == split]
    load = net_loader(device)
    write_threshold_tables(tiles, folder, recipe, load, grid, iou_threshold, target)
    return len(tiles)
