"""What a former release has finished is recognised: nothing is done again, nothing overwritten."""

import importlib.metadata
import re
from pathlib import Path

import pytest

import somaflow
from flows.scoring import recipe_key
from somaflow.checks import find_notes, find_problems
from somaflow.errors import SchemaError
from somaflow.experiments.jobs import recipe_job
from somaflow.experiments.plan import plan_trainings
from somaflow.inventory import find_prepared
from somaflow.labelstore import create_arrays
from somaflow.ledger import read_plan, unfinished_shards
from somaflow.pending import find_pending
from somaflow.recipebook import find_recipe
from somaflow.report import write_report
from somaflow.status import describe_status
from somaflow.study import Study, load_study
from tasks.preparation import (
    check_labels,
    find_tiles,
    hash_labelled,
    prepare_images,
    split_labelled,
)
from tests.upgrades.files import made_with, restamp, unpack

# A step changed on purpose makes a test of what is done already fail for the releases before it:
# they are done again, as CHANGELOG.md must say, and are taken out of that test.
NEWER: dict[str, object] = {"schema_version": 99, "somaflow": "9.9.9"}


@pytest.fixture
def same_libraries(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries seem to be those of the release: keys hold their versions."""
    then, now = made_with(release)["libraries"], importlib.metadata.version
    monkeypatch.setattr("somaflow.keys.version", lambda name: then.get(name) or now(name))


def prepare(study: Study) -> str:
    """What e0-prepare does; returns the key of the prepared tiles."""
    find_tiles.fn(study)
    labelled = check_labels.fn(study)
    splits = split_labelled.fn(study, labelled)
    key = hash_labelled.fn(study, labelled, splits)
    prepare_images.fn(study, labelled, splits, key)
    return key


def look(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """All files: bytes and time."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.usefixtures("same_libraries")
def test_tiles_and_splits_are_prepared_already(study: Study) -> None:
    """e0-prepare finds its folder; of a study that was moved, the tile table alone is new."""
    before = look(study.output)
    assert (study.paths.prepared(prepare(study)) / "prepared.parquet") in before
    after = look(study.output)
    moved = {study.paths.tiles, study.paths.fingerprints}
    assert moved == {path for path in before if before[path] != after[path]}
    (former,) = after.keys() - before.keys()
    assert study.output / "previous" == former.parent
    assert before[study.paths.tiles][0] == former.read_bytes()
    prepare(study)
    assert after == look(study.output)


@pytest.mark.usefixtures("same_libraries")
def test_every_shard_is_done_already(study: Study) -> None:
    """e5-inference finds both inferences whole, by their checksums, and writes nothing."""
    prepare(study)
    before = look(study.output)
    pending = [find_pending(study, name) for name in study.inference_recipes]
    assert study.paths.inference_keys() == sorted(one.inference.key for one in pending)
    assert [[], []] == [one.todo for one in pending]
    assert before == look(study.output)


@pytest.mark.usefixtures("same_libraries")
def test_every_training_is_done_already(study: Study) -> None:
    """e1-recipes finds the weights it would train."""
    prepare(study)
    prepared = find_prepared(study)
    assert study.fine_tuning is not None
    (plan,) = plan_trainings(study.fine_tuning, prepared.tiles)
    base = study.recipe(study.fine_tuning.base)
    job = recipe_job(study, prepared, plan, base)
    assert job.is_done
    assert [job.folder] == list(study.output.glob("checkpoints/*"))


@pytest.mark.usefixtures("same_libraries")
def test_every_score_is_there_already(study: Study) -> None:
    """Recipes of the study and of experiments find their counts."""
    prepare(study)
    prepared = find_prepared(study)
    names = ("baseline", "generic", "hybrid", "generic-gated")
    recipes = [find_recipe(study, name, prepared.key) for name in names]
    files = [study.paths.evaluation(recipe_key(study, prepared, recipe)) for recipe in recipes]
    assert [] == [file.name for file in files if not file.exists()]


def test_status_and_check_say_who_made_it(study: Study, release: Path) -> None:
    """Both name the releases and that this one reads the files; that is no problem."""
    prepare(study)
    expected = f"somaflow {release.name}, {somaflow.__version__}; this is {somaflow.__version__}, "
    assert f"files by {expected}which reads them" in describe_status(study)
    assert any(expected in line for line in find_notes(study))
    assert [] == find_problems(study)


def test_check_lists_all_files_that_cannot_be_read(study: Study) -> None:
    """One line each, by name; status says so and reads no further."""
    (record,) = study.output.glob("checkpoints/*/training.json")
    newer = [study.paths.splits, record]
    for path in newer:
        restamp(path, NEWER)
    problems = find_problems(study)
    assert 2 == len(problems)
    assert all(f"{path} has 99" in line for path, line in zip(newer, problems, strict=True))
    status = describe_status(study)
    assert "9.9.9; this is" in status
    assert "which cannot read 2 of them" in status
    assert "trainings" not in status


@pytest.mark.parametrize("name", ["study.yaml", "tiles.parquet", "splits.yaml"])
def test_newer_file_is_not_overwritten(study: Study, name: str) -> None:
    """Neither does preparing a study again replace what a newer release wrote."""
    path = study.output / name
    restamp(path, NEWER)
    before = path.read_bytes()
    with pytest.raises(SchemaError, match=r"99, written by somaflow 9\.9\.9"):
        study.paths.write_current(path, b"other")
    assert before == path.read_bytes()


def test_newer_shard_is_not_done_again(study: Study) -> None:
    """A record that cannot be read is not taken for a shard that is not done."""
    key = study.paths.inference_keys()[0]
    restamp(study.paths.record(key, 0), NEWER)
    with pytest.raises(SchemaError, match=r"shard-00000\.json has 99"):
        unfinished_shards(study.paths, key, read_plan(study.paths, key))


def test_newer_label_array_is_not_overwritten(study: Study) -> None:
    """Planning the same inference again leaves it as it is, and says why."""
    key = study.paths.inference_keys()[0]
    path = study.paths.label_array(key, "96x96") / "zarr.json"
    restamp(path, NEWER)
    before = path.read_bytes()
    with pytest.raises(SchemaError, match=r"zarr\.json has 99"):
        create_arrays(study.paths, key, read_plan(study.paths, key), study.shard_tiles)
    assert before == path.read_bytes()


def test_report_of_a_newer_release_is_another_report(study: Study) -> None:
    """Nothing of it is read: the present one is written beside it, and `check` has no complaint."""
    first = write_report(study)
    restamp(first, NEWER)
    before = re.sub(rb"[0-9a-f]{64}", b"0" * 64, first.read_bytes(), count=1)  # says something else
    first.write_bytes(before)
    assert first != write_report(study)
    assert before == first.read_bytes()
    assert [] == [line for line in find_problems(study) if "99" in line]


def test_study_as_run_runs_again(study: Study, release: Path, tmp_path: Path) -> None:
    """The study file that a release left in its outputs is a study file, with or without stamp."""
    again = load_study(study.paths.study)
    assert study.name == again.name
    assert study.recipes == again.recipes
    mine = unpack(release, tmp_path / "mine")
    mine.write_text("schema_version: 1\n" + mine.read_text())
    assert study.recipes == load_study(mine).recipes
    mine.write_text(mine.read_text().replace("schema_version: 1", "schema_version: 99"))
    with pytest.raises(SchemaError, match=r"study\.yaml has 99, written by a newer somaflow"):
        load_study(mine)
