"""Each kind of file that a former release wrote is read; each that a newer one wrote is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from somaflow.errors import SchemaError
from somaflow.experiments.results import read_results
from somaflow.inventory import read_tiles
from somaflow.keys import fingerprint_files
from somaflow.labelstore import open_labels
from somaflow.ledger import read_plan, read_record, read_run
from somaflow.paths import RunPaths
from somaflow.preparation import open_prepared
from somaflow.recipebook import find_recipe
from somaflow.schema import KINDS, PAGE, REPORT, STAGES, STATE, Kind
from somaflow.splits import load_splits
from somaflow.stamps import read_table
from somaflow.study import Study, load_study
from somaflow.training import is_trained, read_history
from somaflow.training.checkpoint import Progress, load_state, save_state
from tests.upgrades.files import RELEASES, restamp

NEWER: dict[str, object] = {"schema_version": 99, "somaflow": "9.9.9"}


def make_net() -> tuple[Any, Any]:
    """The least that a state can be saved of."""
    import torch

    net = torch.nn.Linear(1, 1)
    return net, torch.optim.AdamW(net.parameters())


def split_path(path: Path) -> tuple[RunPaths, str]:
    """Paths and key of a file in a folder of the ledger."""
    return RunPaths(path.parents[2]), path.parent.name


def read_labels(array: Path) -> object:
    store = open_labels(array)
    return [store.read(tile_id) for tile_id in store.tile_ids]


READERS: dict[str, Callable[[Study, Path], object]] = {
    "study file": lambda study, path: load_study(path),
    "tile table": lambda study, path: read_tiles(study.paths),
    "index of fingerprints": lambda study, path: fingerprint_files([], path),
    "splits file": lambda study, path: load_splits(path),
    "table of prepared tiles": lambda study, path: open_prepared(path.parent),
    "record of a training": lambda study, path: is_trained(path.parent),
    "saved state of a training": lambda study, path: load_state(path.parent, "a", *make_net()),
    "history of a training": lambda study, path: read_history(path.parent),
    "recipe file": lambda study, path: find_recipe(study, path.stem),
    "page of an experiment": lambda study, path: read_results(path.parent),
    "plan of an inference": lambda study, path: read_plan(*split_path(path)),
    "record of an inference": lambda study, path: read_run(*split_path(path)),
    "ledger record": lambda study, path: read_record(path),
    "label array": lambda study, path: read_labels(path.parent),
}
"""By name of the kind, what flows read it with; other tables they read with `read_table`."""


def find_file(study: Study, kind: Kind) -> Path:
    """A file of that kind. A state is made here: it is too large to be kept."""
    if kind is STATE:
        (folder,) = study.output.glob("checkpoints/*")
        save_state(folder, "a", *make_net(), Progress())
    if kind is PAGE:  # 0.1.0 wrote none: where it belongs
        return next(study.output.glob("experiments/*/*/summary.md")).with_name("schema.json")
    return next(path for place in kind.places for path in sorted(study.output.glob(place)))


def read(study: Study, kind: Kind, path: Path) -> object:
    if kind.name in READERS:
        return READERS[kind.name](study, path)
    return read_table(kind, path)


NOT_YET: dict[str, set[Kind]] = {"0.1.0": {STAGES}}
"""Kinds that a release did not write; of a new kind, tests/flows/test_upgrades.py sees the file."""
# A report is written and never read again.
each_kind = pytest.mark.parametrize(
    ("release", "kind"),
    [
        pytest.param(release, kind, id=f"{release.name}-{kind.name}")
        for release in RELEASES
        for kind in KINDS
        if kind is not REPORT and kind not in NOT_YET[release.name]
    ],
    indirect=["release"],
)


@each_kind
def test_file_of_a_former_release_is_read(study: Study, kind: Kind) -> None:
    """Each kind as it was written then, by what reads it now."""
    found = read(study, kind, find_file(study, kind))
    assert found is not None
    assert found is not False


@each_kind
def test_newer_file_is_refused_by_name_and_left_alone(study: Study, kind: Kind) -> None:
    """The message names the file and its writer; refusing it does not change it."""
    path = find_file(study, kind)
    restamp(path, NEWER)
    before = path.read_bytes()
    named = path.parent.name if path.name == "zarr.json" else path.name
    expected = rf"at most {kind.version} .*/{named} has 99, written by somaflow 9\.9\.9; install"
    with pytest.raises(SchemaError, match=expected):
        read(study, kind, path)
    assert before == path.read_bytes()


@each_kind
@pytest.mark.parametrize("version", ["two", -1])
def test_version_that_is_none_is_an_error_in_words(
    study: Study, kind: Kind, version: object
) -> None:
    """A damaged field is said, and never taken for a version."""
    path = find_file(study, kind)
    restamp(path, NEWER | {"schema_version": version})
    with pytest.raises(SchemaError, match=r"must be a whole number from 1 on, the .*; restore"):
        read(study, kind, path)
