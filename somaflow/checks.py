"""Every problem of a study at once, before any model is loaded and without a server."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from somaflow.coverage import read_expected
from somaflow.errors import OutputError, SomaflowError
from somaflow.experiments.plan import plan_trainings, training_tiles
from somaflow.inventory import (
    check_labelled,
    discover_study,
    labelled_tiles,
    unmatched_donor_rows,
)
from somaflow.recipes import Recipe
from somaflow.releases import find_origin
from somaflow.segmenter import THRESHOLD, load_segmenter
from somaflow.splits import load_splits, make_splits
from somaflow.study import Study
from somaflow.tiles import report_refused
from somaflow.traits import load_codebook, read_traits


def find_problems(study: Study) -> list[str]:
    """One line a problem, in the order of the data path; an empty list means ready to run."""
    problems = list(_failures(lambda: _check_output(study.output)))
    problems += find_origin(study.paths).problems
    problems += _check_tiles(study)
    problems += _check_traits(study)
    for recipe in study.recipes:
        problems += _failures(partial(_check_model, recipe, study))
    return problems


def find_notes(study: Study) -> list[str]:
    """Lines about outputs that other releases or libraries made, none of which is a problem."""
    return [f"note: {line}" for line in find_origin(study.paths).describe()]


def _check_traits(study: Study) -> list[str]:
    """What e5-donors would say of the trait table, its codebook and the expected tiles."""
    settings = study.donor_statistics
    problems: list[str] = []

    def read() -> None:
        if study.traits is not None:
            required = [*settings.traits, *settings.covariates]
            problems.extend(
                read_traits(study.traits, load_codebook(settings.codebook), required).problems
            )

    def read_expectations() -> None:
        if settings.expected_tiles is not None:
            read_expected(settings.expected_tiles)

    return [*_failures(read), *problems, *_failures(read_expectations)]


def _check_tiles(study: Study) -> Iterator[str]:
    tables: list[pd.DataFrame] = []
    yield from _failures(lambda: tables.append(discover_study(study)))
    if not tables:
        return
    yield from report_refused(tables[0])
    yield from unmatched_donor_rows(tables[0])
    labelled = labelled_tiles(tables[0], study)
    if labelled.empty:
        return
    yield from _failures(lambda: check_labelled(labelled, study.labelled_source))
    yield from _failures(lambda: _check_experiments(labelled, study))


def _check_experiments(labelled: pd.DataFrame, study: Study) -> None:
    """Draws splits and plans all trainings, as the flows will."""
    settings = study.splits
    if settings.file is not None:
        splits = load_splits(settings.file, labelled)
    else:
        splits = make_splits(labelled, settings.fractions, study.seed, settings.level)
    tiles = splits.tiles(labelled)
    if study.fine_tuning is not None:
        for training in plan_trainings(study.fine_tuning, tiles):
            training_tiles(training, tiles)


def _check_model(recipe: Recipe, study: Study) -> None:
    if recipe.model != THRESHOLD:
        load_segmenter(recipe.model, device=study.device, sha256=recipe.model_sha256)


def _check_output(output: Path) -> None:
    existing = next(path for path in [output, *output.parents] if path.exists())
    if not existing.is_dir():
        raise OutputError(f"output must be a folder, {existing} is a file; choose another")
    if not os.access(existing, os.W_OK):
        raise OutputError(f"output must be writable, {existing} is not; choose another folder")


def _failures(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except SomaflowError as error:
        lines = str(error).splitlines()
        # A report of many lines carries a heading that only counts them.
        yield from lines[1:] if len(lines) > 1 else lines
