"""What the donor statistics of a study are made from: inferences, traits, coverage, and their key.

Enters: a study as its files are. Leaves: what there is, and a line for what is missing.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from somaflow.coverage import Coverage, read_coverage
from somaflow.errors import BadInputError, StoreError, StudyError
from somaflow.files import hash_file
from somaflow.keys import content_key, library_versions
from somaflow.pending import find_pending
from somaflow.study import Study
from somaflow.traits import Traits, load_codebook, read_traits

_NOT_ALL, _NONE = "shards are not segmented", "no tile is segmented yet"
NOT_WHOLE = (_NOT_ALL, _NONE)
"""What the page of donors says where they were made before all tiles were segmented."""


def find_inferences(study: Study, problems: list[str]) -> dict[str, str]:
    """Key of the inference of each recipe of which something is committed.

    Args:
        study: prepared by e0-prepare.
        problems: gets a line for each recipe that is not segmented, or not whole.

    Raises:
        StudyError: if the inference recipe is not there.
        StoreError: if nothing is segmented with it.
    """
    found = {}
    for name in study.inference_recipes:
        try:
            pending = find_pending(study, name)
        except StudyError as error:
            if name == study.inference_recipe:
                raise
            problems.append(f"{name}: {error}")
            continue
        n_shards = pending.inference.n_shards
        if len(pending.todo) == n_shards:
            problems.append(f"{name}: {_NONE}; run e5-inference")
            continue
        if pending.todo:
            problems.append(
                f"{name}: {len(pending.todo)} of {n_shards} {_NOT_ALL}, what follows "
                "is of the others; run e5-inference, then e5-donors again"
            )
        found[name] = pending.inference.key
    if study.inference_recipe not in found:
        raise StoreError(
            f"donors need cells of {study.inference_recipe}, none is there; run e5-inference first"
        )
    return found


def read_study_traits(study: Study, problems: list[str]) -> Traits | None:
    """The trait table by its codebook; None, and a line, where there is none to be read."""
    if study.traits is None:
        problems.append("the study names no trait table (`traits`): donors are tabulated alone")
        return None
    settings = study.donor_statistics
    try:
        required = [*settings.traits, *settings.covariates]
        return read_traits(study.traits, load_codebook(settings.codebook), required)
    except StudyError as error:
        problems.append(str(error))
        return None


def audit_study(
    study: Study, key: str, quality: pd.DataFrame, traits: Traits | None, problems: list[str]
) -> Coverage | None:
    """Tiles expected, found, segmented and usable; None, and a line, where that cannot be told."""
    settings = study.donor_statistics
    asked: pd.DataFrame | None = None
    if traits is not None:
        names = [name for name in settings.traits if name in traits.table]
        asked = traits.table[["donor", *names]]
    try:
        return read_coverage(study.paths, key, settings.expected_tiles, quality, asked)
    except (StudyError, BadInputError) as error:
        problems.append(f"coverage: {error}")
        return None


def donors_key(study: Study, features: Mapping[str, Path]) -> str:
    """Key of the statistics: tile features by recipe, files, settings, versions."""
    settings = study.donor_statistics
    files = {"traits": study.traits, "codebook": settings.codebook}
    files |= {"expected_tiles": settings.expected_tiles}
    content = settings.model_dump(mode="json", exclude={"codebook", "expected_tiles"})
    return content_key(
        "donors",
        features={recipe: path.stem for recipe, path in features.items()},
        files={name: _hash(path) for name, path in files.items()},
        settings=content,
        seed=study.seed,
        recipes=list(features),
        versions=library_versions("numpy", "scipy", "pandas", "statsmodels"),
    )


def _hash(path: Path | None) -> str:
    return hash_file(path) if path is not None and path.is_file() else ""
