"""Every kind of file that somaflow writes and later reads, and the version of its layout.

Enters: what a file says of itself, its stamp. Leaves: nothing, if this somaflow reads such a file.
Refuses one of a newer layout than it knows, in one sentence.

A stamp is two fields, `schema_version` and `somaflow` (the release that wrote the file). It stands
among the fields of YAML and JSON files, among a zarr array's attributes, as JSON under the name
`somaflow` in a parquet file's metadata, and in the head of an HTML file. A file without one is of
version 1: what release 0.1.0 wrote, which knew no stamps. Who changes a layout raises its number
here, and either turns the older one into the newer where that file is read, or raises `oldest`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import somaflow
from somaflow.errors import SchemaError

FIELDS = ("schema_version", "somaflow")
FIRST_RELEASE = "0.1.0"
"""Wrote files without a stamp."""
_VERSION = re.compile(r"[1-9]\d{0,8}")


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: as people call it.
        places: patterns of its paths below the output folder.
        flow: makes it.
        version: of its layout, as written now.
        oldest: the oldest version that is still read.
    """

    name: str
    places: tuple[str, ...]
    flow: str
    version: int = 1
    oldest: int = 1


STUDY = Kind("study file", ("study.yaml",), "e0-prepare")
STAGES = Kind("note of the stages of a study", ("stages.json",), "study")
TILES = Kind("tile table", ("tiles.parquet",), "e0-prepare")
FINGERPRINTS = Kind("index of fingerprints", ("fingerprints.parquet",), "e0-prepare")
SPLITS = Kind("splits file", ("splits.yaml",), "e0-prepare")
PREPARED = Kind("table of prepared tiles", ("prepared/*/prepared.parquet",), "e0-prepare")
TRAINING = Kind("record of a training", ("checkpoints/*/training.json",), "e1-recipes")
STATE = Kind("saved state of a training", ("checkpoints/*/state.pt",), "e1-recipes")
HISTORY = Kind("history of a training", ("checkpoints/*/history.parquet",), "e1-recipes")
EVALUATION = Kind("table of counts", ("evaluations/*.parquet",), "e1-recipes")
SWEEP = Kind("table of a sweep", ("sweeps/*/*.parquet",), "e3-gating or e4-thresholds")
RECIPE = Kind("recipe file", ("recipes/*.yaml",), "e1-recipes, e3-gating or e4-thresholds")
PAGE = Kind(
    "page of an experiment", ("experiments/*/*/schema.json", "donors/*/schema.json"), "its flow"
)
PLAN = Kind("plan of an inference", ("ledger/*/plan.parquet",), "e5-inference")
INFERENCE = Kind("record of an inference", ("ledger/*/run.json",), "e5-inference")
SHARD = Kind("ledger record", ("ledger/*/shard-*.json",), "e5-inference")
LABELS = Kind("label array", ("labels/*/*.zarr/zarr.json",), "e5-inference")
CELLS = Kind("cell table", ("cells/*/shard-*.parquet",), "e5-inference")
DONOR_PART = Kind("table behind donor statistics", ("donors/parts/*.parquet",), "e5-donors")
REPORT = Kind("report", ("reports/*/report.html",), "e5-donors")

KINDS = (
    *(
        STUDY,
        STAGES,
        TILES,
        FINGERPRINTS,
        SPLITS,
        PREPARED,
        TRAINING,
        STATE,
        HISTORY,
        EVALUATION,
        SWEEP,
    ),
    *(RECIPE, PAGE, PLAN, INFERENCE, SHARD, LABELS, CELLS, DONOR_PART, REPORT),
)

WITHOUT_VERSION = {
    "at-work.lock": "empty",
    "at-work.json": "counts only while the run that wrote it is at work",
    "donor-codes/secret": "random",
    "donor-codes/codes.tsv": "for people, never read again",
    "prepared/*/*/*.tif": "Cellpose opens them; prepared.parquet beside them has one",
    "checkpoints/*/*.pt": "weights that Cellpose opens; training.json has one, and their checksums",
    "checkpoints/*/*.bad": "a damaged state that was set aside",
    "checkpoints/*/training.lock": "empty",
    "ledger/*/claims": "empty",
    "labels/*/*.zarr/c/*/*/*": "chunks of the array, whose zarr.json has one",
    "experiments/*/current.txt": "one key; the page of that key has one",
    "donors/current.txt": "likewise",
    **{
        f"{place}/*.{ending}": "tables, pictures and words; schema.json beside them has one"
        for place in ("experiments/*/*", "donors/*")
        for ending in ("md", "tsv", "png", "pdf")
    },
    "reports/*/*.tsv": "for people, never read again",
    "reports/*/*/*": "likewise",
    "previous/*": "former versions of the files above",
    "task-results/*": "Prefect's, read by the release that wrote them alone",
    "prefect/**/*": "Prefect's own database, which it brings up to date itself",
    "logs/**/*": "for people",
}
"""Patterns of all other files below the output folder, and why they need none."""


def make_stamp(kind: Kind) -> dict[str, Any]:
    """The two fields that a file of this kind carries when it is written now."""
    return dict(zip(FIELDS, (kind.version, somaflow.__version__), strict=True))


def check_stamp(kind: Kind, where: Path | str, content: Mapping[Any, Any]) -> None:
    """Refuses content whose stamp says that this somaflow cannot read it.

    Args:
        kind: of the file.
        where: it lies, for the message.
        content: all fields of the file, or its stamp alone; without one it is of version 1.

    Raises:
        SchemaError: for a layout newer than the present one or older than can be read, and for a
            version that is no version.
    """
    found, writer = content.get(FIELDS[0], 1), content.get(FIELDS[1])
    if not _VERSION.fullmatch(str(found)):
        raise SchemaError(
            f"schema_version must be a whole number from 1 on, the {kind.name} {where} has "
            f"{found!r}; restore that file, or use another output folder"
        )
    version = int(found)
    if version > kind.version:
        by, install = "a newer somaflow", "the somaflow that wrote it"
        if writer is not None:
            by, install = f"somaflow {writer}", f"somaflow >= {writer}"
        raise SchemaError(
            f"schema_version of a {kind.name} must be at most {kind.version} for somaflow "
            f"{somaflow.__version__}, {where} has {version}, written by {by}; install {install} or "
            "use another output folder"
        )
    if version < kind.oldest:
        raise SchemaError(
            f"schema_version of a {kind.name} must be {kind.oldest} or more for somaflow "
            f"{somaflow.__version__}, {where} has {version}, written by somaflow "
            f"{writer or FIRST_RELEASE}; install that one, or run {kind.flow} again in another "
            "output folder"
        )


def find_kind(place: PurePath) -> Kind | None:
    """The kind of the file at this path below the output folder; None if it has no version."""
    for kind in KINDS:
        if any(_fits(place, pattern) for pattern in kind.places):
            return kind
    return None


def _fits(place: PurePath, pattern: str) -> bool:
    return len(place.parts) == pattern.count("/") + 1 and place.match(pattern)
