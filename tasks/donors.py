"""E5's donor part as tasks: tile quality, tile features, statistics."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from prefect import task

from somaflow.donors.analysis import Analysis, analyse_donors
from somaflow.donors.parts import QualityPart, read_quality, write_quality, write_tile_features
from somaflow.paths import RunPaths
from somaflow.schema import DONOR_PART
from somaflow.settings import DonorStatistics
from somaflow.stamps import read_table
from somaflow.traits import Traits
from tasks.caching import can_heal
from tasks.privacy import discreet


@task(
    task_run_name="quality of tiles, part {number} of {n_parts}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
@discreet
def measure_tiles(
    tiles: pd.DataFrame, pixel_offset: int, target: Path, number: int, n_parts: int
) -> int:
    """Writes the quality of some tiles; returns how many could not be measured."""
    return write_quality(tiles, pixel_offset, target)


@task(
    task_run_name="tile features of {recipe}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=can_heal,
)
@discreet
def measure_features(
    output: Path,
    recipe: str,
    key: str,
    parts: Sequence[QualityPart],
    settings: DonorStatistics,
    target: Path,
    mixtures_target: Path,
) -> int:
    """Writes the tile features of one inference; returns the number of cells."""
    paths = RunPaths(output)
    quality = read_quality(paths, parts, settings.tile_quality)
    return write_tile_features(
        paths,
        key,
        quality,
        settings.phenotypes,
        settings.pixel_size_um,
        target,
        mixtures_target,
    )


@task(task_run_name="statistics of donors", retries=1, retry_condition_fn=can_heal)
@discreet
def analyse(
    output: Path,
    features: Mapping[str, Path],
    mixtures: Mapping[str, Path],
    parts: Sequence[QualityPart],
    traits: Traits | None,
    settings: DonorStatistics,
    seed: int,
) -> Analysis:
    """Donor tables, associations, stability."""
    quality = read_quality(RunPaths(output), parts, settings.tile_quality)
    tables = {recipe: read_table(DONOR_PART, path) for recipe, path in features.items()}
    fitted = [
        read_table(DONOR_PART, path).assign(recipe=recipe) for recipe, path in mixtures.items()
    ]
    analysis = analyse_donors(tables, quality, traits, settings, seed)
    analysis.add_mixtures(pd.concat(fitted, ignore_index=True))
    return analysis
