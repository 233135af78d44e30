"""Studies below folders, and when what a person writes of one has last changed."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from somaflow.study import AS_RUN, Study

STUDY_FILE = "study.yaml"
# <root>/<group>/<project>/<study>/study.yaml
_DEEPEST = 3


def find_studies(roots: Iterable[Path]) -> list[Path]:
    """Study files at most three folders below the roots, sorted; a root may be a file itself.

    The copy that a run leaves in its outputs is not a study, and nothing below it is looked at.
    Links are not followed: they may lead out of the roots.
    """
    found: set[Path] = set()
    for root in roots:
        root = Path(root).resolve()
        found |= {root} if root.is_file() else set(_walk(root))
    return sorted(found)


def inputs_changed(study_path: Path, study: Study) -> float:
    """When the study file, or a file or folder that it names, was last changed, in unix seconds.

    A folder changes when an entry of its own does, not with what lies deeper.
    """
    sources = [study.tiles, *([study.labelled] if study.labelled else [])]
    recipes = [part for recipe in study.recipes for part in (recipe, *recipe.per_marker.values())]
    named = [
        study_path,
        *(path for source in sources for path in (source.root, source.donor_table)),
        *(study.traits, study.splits.file),
        *(study.donor_statistics.codebook, study.donor_statistics.expected_tiles),
        *(Path(recipe.model) for recipe in recipes if "/" in recipe.model),
    ]
    return max(path.stat().st_mtime for path in named if path is not None and path.exists())


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        here = Path(folder)
        path = here / STUDY_FILE
        is_study = STUDY_FILE in files and not path.is_symlink()
        if is_study and _is_copy(path):
            names.clear()
            continue
        if is_study:
            yield path
        is_deep = len(here.relative_to(root).parts) >= _DEEPEST
        names[:] = [] if is_deep else [name for name in names if not name.startswith(".")]


def _is_copy(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(AS_RUN)
    except OSError:
        return False  # whoever reads it will say what is wrong with it
