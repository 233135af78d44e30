"""The stages of a whole study, in the order of the data, and what the flow `study` set out to do.

The note of it on disk outlives the run: a stage that was to be run and has left nothing is then
known to be unfinished, whatever became of the run.
"""

import json

from somaflow.files import write_text
from somaflow.paths import RunPaths
from somaflow.schema import STAGES as NOTE
from somaflow.schema import make_stamp
from somaflow.stamps import check_file
from somaflow.study import Study

STAGES = (
    "e0-prepare",
    "e1-recipes",
    "e2-label-budget",
    "e3-gating",
    "e4-thresholds",
    "e5-inference",
    "e5-donors",
)


def stages_of(study: Study, has_labelled: bool) -> list[str]:
    """The stages that a study has a part for, in order.

    Args:
        study: as its file says.
        has_labelled: whether labelled tiles were found; experiments need some.
    """
    has_part = {
        "e1-recipes": has_labelled,
        "e2-label-budget": has_labelled and study.label_budgets is not None,
        "e3-gating": has_labelled and study.gating is not None,
        "e4-thresholds": has_labelled and study.thresholds is not None,
    }
    return [name for name in STAGES if has_part.get(name, True)]


def note_stages(paths: RunPaths, stages: list[str]) -> None:
    """Notes what a run of the flow `study` sets out to do, in place of an earlier note."""
    if read_stages(paths) != stages:
        content = {**make_stamp(NOTE), "stages": stages}
        write_text(paths.stages, json.dumps(content, indent=1) + "\n")


def read_stages(paths: RunPaths) -> list[str]:
    """The stages that the last run of `study` set out to do; none if there was no such run.

    Raises:
        SchemaError: if a newer somaflow noted them.
    """
    try:
        check_file(NOTE, paths.stages)
    except json.JSONDecodeError:
        return []
    try:
        return [str(name) for name in json.loads(paths.stages.read_text("utf-8"))["stages"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []  # a damaged note: the results themselves still tell most
