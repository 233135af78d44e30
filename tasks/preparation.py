"""E0 as tasks: find tiles, split donors, check for leaks, write Cellpose-ready images."""

import pandas as pd
from prefect import task

from somaflow.inventory import (
    check_labelled,
    discover_study,
    fingerprint_tiles,
    labelled_tiles,
    prepared_key,
    read_tiles,
    refuse_unusable,
    unmatched_donor_rows,
    write_tiles,
)
from somaflow.preparation import write_prepared
from somaflow.splits import (
    Splits,
    audit_leakage,
    format_splits,
    load_splits,
    make_splits,
    refuse_leakage,
)
from somaflow.study import Study
from somaflow.tiles import read_tile, read_tile_labels
from tasks.caching import can_heal
from tasks.privacy import discreet


@task(task_run_name="find tiles")
@discreet
def find_tiles(study: Study) -> list[str]:
    """Writes tiles.parquet; returns a line for each tile set aside and each row without tile."""
    table = discover_study(study)
    unmatched = unmatched_donor_rows(table)
    write_tiles(study.paths, table)
    fingerprint_tiles(table, study.paths)  # once, here: all later stages look them up
    return [*refuse_unusable(table, study), *unmatched]


@task(task_run_name="check labelled tiles")
@discreet
def check_labels(study: Study) -> pd.DataFrame:
    """Labelled tiles, each read whole."""
    labelled = labelled_tiles(read_tiles(study.paths), study)
    return check_labelled(labelled, study.labelled_source)


@task(task_run_name="split donors")
@discreet
def split_labelled(study: Study, labelled: pd.DataFrame) -> Splits:
    """Writes splits.yaml, drawn by seed or taken from the study's own file."""
    settings = study.splits
    if settings.file is not None:
        splits = load_splits(settings.file, labelled)
    else:
        splits = make_splits(labelled, settings.fractions, study.seed, settings.level)
    study.paths.write_current(study.paths.splits, format_splits(splits).encode())
    return splits


@task(task_run_name="audit leakage between splits")
@discreet
def audit_splits(study: Study, labelled: pd.DataFrame, splits: Splits) -> int:
    """Fails if a donor, the same pixels or a near-duplicate lies in two splits."""
    offset = study.labelled_source.pixel_offset
    findings = audit_leakage(labelled, splits, read=lambda row: read_tile(row, pixel_offset=offset))
    refuse_leakage(findings)
    return len(labelled)


@task(task_run_name="write Cellpose-ready images", retries=1, retry_condition_fn=can_heal)
@discreet
def prepare_images(study: Study, labelled: pd.DataFrame, splits: Splits, key: str) -> pd.DataFrame:
    """Writes the prepared folder and returns its table."""
    source = study.labelled_source
    return write_prepared(
        labelled,
        splits,
        study.paths.prepared(key),
        read=lambda row: read_tile(row, pixel_offset=source.pixel_offset),
        read_labels=lambda row: read_tile_labels(row, renumber=source.renumber_labels),
    )


@task(task_run_name="hash labelled files")
@discreet
def hash_labelled(study: Study, labelled: pd.DataFrame, splits: Splits) -> str:
    """Key of the prepared images."""
    return prepared_key(labelled, splits, study, study.paths)
