"""What of a study is begun and not finished is told from its files, and nothing else is."""

import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from somaflow.errors import StudyError, TrainingStopped
from somaflow.files import write_bytes
from somaflow.paths import DONORS
from somaflow.stages import note_stages, stages_of
from somaflow.study import load_study
from somaflow.synthetic import write_study as write_synthetic
from somaflow.training.stopping import LOCK_NAME, hold_folder
from somaflow.unfinished import Unfinished, find_studies, find_unfinished, inputs_changed
from tests.begun import DAY_S, add_page, first_job, make_older, prepare, segment, train, write_study

SHARDS = (0, 1, 2)


def told(path: Path, **arguments: float) -> list[tuple[str, str]]:
    """Flow and reason of all that is unfinished."""
    return [(one.flow, one.reason) for one in find_unfinished(path, **arguments)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A study of three shards that was never begun."""
    return write_study(tmp_path / "mine")


# --- inference ------------------------------------------------------------------------------------


def test_study_that_was_never_begun_has_nothing_to_finish(path: Path) -> None:
    """Neither a study without outputs nor one that is only prepared is started by itself."""
    assert [] == find_unfinished(path)
    prepare(path)
    assert [] == find_unfinished(path)


def test_whole_study_has_nothing_to_finish(path: Path) -> None:
    """All shards are committed, none was set aside."""
    segment(prepare(path), *SHARDS)
    assert [] == find_unfinished(path)


def test_shard_without_a_record_is_unfinished(path: Path) -> None:
    """A record that is gone, or whose labels or cells are, is counted in words."""
    study = prepare(path)
    key = segment(study, *SHARDS)
    study.paths.record(key, 1).unlink()
    expected = "1 of 3 shards of bright are not committed"
    assert [("e5-inference", expected)] == told(path)
    study.paths.cells(key, 2).unlink()
    (found,) = find_unfinished(path)
    assert "2 of 3 shards of bright are not committed" == found.reason
    assert {} == found.parameters
    segment(study, *SHARDS)
    assert [] == find_unfinished(path)


def test_evidence_changes_with_what_is_done(path: Path) -> None:
    """The same shards missing after others were committed are another finding; else the same."""
    study = prepare(path)
    key = segment(study, 0)
    (before,) = find_unfinished(path)
    assert [before] == find_unfinished(path)
    segment(study, 1)
    study.paths.record(key, 1).unlink()
    segment(study, 1)
    study.paths.record(key, 1).unlink()
    os.utime(study.paths.record(key, 0))
    (after,) = find_unfinished(path)
    assert before.reason == after.reason
    assert before.evidence != after.evidence


def test_inference_of_former_settings_is_nobodys_any_more(path: Path) -> None:
    """A plan that a newer one of the same recipe has replaced is left unfinished."""
    study = prepare(path)
    key = segment(study, 0)
    make_older(study.paths.plan(key), 1)
    path.write_text(path.read_text().replace("shard_tiles: 2", "shard_tiles: 3"))
    segment(load_study(path), 0, 1)
    assert [] == find_unfinished(path)


# --- tiles that were set aside --------------------------------------------------------------------


@pytest.fixture
def set_aside(path: Path) -> tuple[Path, Path]:
    """A whole study with one tile set aside a moment ago, and the record that says so."""
    study = prepare(path)
    return path, study.paths.record(segment(study, *SHARDS, bad_tile="t001"), 0)


def test_old_quarantine_is_tried_again(set_aside: tuple[Path, Path]) -> None:
    """After the stale period, with the parameter that tries tiles again; not before."""
    path, record = set_aside
    assert [] == find_unfinished(path, stale_days=7)
    make_older(record, 12.5)
    (found,) = find_unfinished(path, stale_days=7)
    words = "1 tile(s) of bright were set aside 12 days ago and not tried again since"
    assert ("e5-inference", words) == (found.flow, found.reason)
    assert {"retry_quarantined": True} == found.parameters
    assert [] == find_unfinished(path, stale_days=13)


def test_quarantine_is_tried_once_a_period_not_every_night(set_aside: tuple[Path, Path]) -> None:
    """Tried again in vain, it waits anew; tried again with success, it is done with."""
    path, record = set_aside
    study = load_study(path)
    make_older(record, 12)
    segment(study, *SHARDS, bad_tile="t001", retry_quarantined=True)
    assert [] == find_unfinished(path, stale_days=7)
    in_eight_days = time.time() + 8 * DAY_S
    assert 1 == len(find_unfinished(path, stale_days=7, now=in_eight_days))
    segment(study, *SHARDS, retry_quarantined=True)
    assert [] == find_unfinished(path, stale_days=7, now=in_eight_days)


def test_tile_that_fails_for_ever_is_tried_ever_more_rarely(set_aside: tuple[Path, Path]) -> None:
    """It waits at least as long as it had been tried when it last failed."""
    path, record = set_aside
    make_older(load_study(path).paths.plan(record.parent.name), 40)
    make_older(record, 12)
    assert [] == find_unfinished(path, stale_days=7)
    later = time.time() + 17 * DAY_S
    assert 1 == len(find_unfinished(path, stale_days=7, now=later))


def test_findings_of_one_flow_are_one(set_aside: tuple[Path, Path]) -> None:
    """Missing shards and an old quarantine are healed by one run."""
    path, record = set_aside
    make_older(record, 12)
    study = load_study(path)
    study.paths.record(record.parent.name, 2).unlink()
    (found,) = find_unfinished(path)
    assert "1 of 3 shards of bright are not committed; 1 tile(s) of bright" in found.reason
    assert {"retry_quarantined": True} == found.parameters


# --- experiments ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a study whose generic training was stopped after 2 of 5 epochs; not to change."""
    folder = tmp_path_factory.mktemp("synthetic") / "study"
    write_synthetic(folder, n_donors=4, n_tiles=16, height_px=160, width_px=160, labelled_tiles=16)
    path = folder / "study.yaml"
    settings = {"n_epochs": 5, "images_per_epoch": 4, "batch_size": 2, "crop_px": 96}
    content = yaml.safe_load(path.read_text()) | {
        "fine_tuning": {"recipes": ["generic", "GFAP-only"], "settings": settings},
        "inference_recipe": "baseline",
        "compare_with": [],
    }
    path.write_text(yaml.safe_dump(content))
    study = prepare(path)
    with pytest.raises(TrainingStopped):
        train(study, first_job(study), until_epoch=2)
    return path


@pytest.fixture
def trained(cut_short: Path, tmp_path: Path) -> Path:
    """The file of a copy of that study, to change."""
    shutil.copytree(cut_short.parent, tmp_path / "study")
    return tmp_path / "study" / "study.yaml"


def test_training_that_was_cut_short_is_unfinished(cut_short: Path) -> None:
    """It is called by its name, with the epoch it stopped at, and belongs to e1-recipes."""
    assert [("e1-recipes", "training generic stopped at epoch 2 of 5")] == told(cut_short)


def test_training_at_work_is_not_unfinished(cut_short: Path) -> None:
    """What another process trains at this moment needs nobody's help."""
    folder = first_job(load_study(cut_short)).folder
    with hold_folder(folder / LOCK_NAME, lambda: None):
        assert [] == told(cut_short)
    assert 1 == len(told(cut_short))


def test_training_of_former_settings_is_nobodys_any_more(trained: Path) -> None:
    """With other settings the study asks for another training, which was never begun."""
    trained.write_text(trained.read_text().replace("n_epochs: 5", "n_epochs: 6"))
    assert [] == told(trained)


def test_finished_training_without_a_page_is_unfinished(trained: Path) -> None:
    """Killed between the last epoch and the page, the experiment is not done."""
    study = load_study(trained)
    train(study, first_job(study))
    assert [("e1-recipes", "1 training(s) are done, its page is not made")] == told(trained)
    add_page(study, "e1-recipes")
    assert [] == told(trained)


def test_page_that_lists_failed_runs_is_unfinished(trained: Path) -> None:
    """Its experiment runs again if what failed may heal; a training it lists is not told twice."""
    study = load_study(trained)
    heading = "**1 run(s) failed and are missing here:**"
    add_page(study, "e1-recipes", f"{heading}\n\n- `generic: MemoryError: 8 GB`", "more")
    (found,) = find_unfinished(trained)
    words = "its page lists 1 failed run(s), the first: generic: MemoryError: 8 GB"
    assert Unfinished("e1-recipes", words, evidence=words, since=found.since) == found
    add_page(study, "e1-recipes", f"{heading}\n\n- `generic: TrainingError: not a number`")
    (found,) = find_unfinished(trained)
    assert not found.heals
    assert found.since == pytest.approx(time.time(), abs=60)


def test_labelled_tiles_that_are_not_prepared_are_unfinished(trained: Path) -> None:
    """e0-prepare, killed before it wrote the images, is the first to go on."""
    study = load_study(trained)
    (table,) = (folder / "prepared.parquet" for folder in study.paths.prepared_folders())
    table.unlink()
    expected = [("e0-prepare", "its labelled tiles are not split and prepared yet")]
    assert expected == told(trained)
    study.paths.tiles.unlink()
    assert [("e0-prepare", "its tiles have not been found yet")] == told(trained)


# --- the whole study ------------------------------------------------------------------------------


def test_stages_that_the_study_did_not_come_to_are_unfinished(trained: Path) -> None:
    """After the flow `study` was killed, each of its stages that left nothing is named."""
    study = load_study(trained)
    note_stages(study.paths, stages_of(study, has_labelled=True))
    reason = "the study was to run it, its page is not made"
    expected = [
        ("e1-recipes", f"training generic stopped at epoch 2 of 5; {reason}"),
        *((name, reason) for name in ("e2-label-budget", "e3-gating", "e4-thresholds")),
        ("e5-inference", "the study was to run it, nothing is segmented yet"),
        ("e5-donors", reason),
    ]
    assert expected == told(trained)


def test_donors_follow_where_the_whole_study_was_run(path: Path) -> None:
    """Inference is done and donors are not: e5-donors, if `study` has run; else nothing."""
    study = prepare(path)
    segment(study, *SHARDS)
    assert [] == told(path)
    note_stages(study.paths, stages_of(study, has_labelled=False))
    expected = [("e5-donors", "the study was to run it, its page is not made")]
    assert expected == told(path)
    add_page(study, DONORS)
    assert [("e5-donors", "the study was to end with a report, there is none")] == told(path)
    write_bytes(study.paths.report("now") / "report.html", b"")
    assert [] == told(path)


def test_donors_of_part_of_the_tiles_are_made_again(path: Path) -> None:
    """Once the missing shards are there, and not before: they would come out the same."""
    study = prepare(path)
    segment(study, 0)
    add_page(study, DONORS, "- bright: 2 of 3 shards are not segmented, what follows is of others")
    assert ["e5-inference"] == [flow for flow, _ in told(path)]
    segment(study, *SHARDS)
    assert [("e5-donors", "donors were made before all tiles were segmented")] == told(path)


# --- studies --------------------------------------------------------------------------------------


def test_study_file_that_cannot_be_read_is_an_error(path: Path) -> None:
    """Whoever looks is told; nothing is run."""
    path.write_text("name: [")
    with pytest.raises(StudyError, match="must be a YAML file"):
        find_unfinished(path)


def test_what_cannot_be_looked_at_is_reported_and_heals_by_no_run(trained: Path) -> None:
    """Weights that are gone: e1-recipes is named, with the cause, and is not to be started."""
    recipes = {"recipes": [{"name": "baseline", "model": "gone.pt"}]}
    trained.write_text(yaml.safe_dump(yaml.safe_load(trained.read_text()) | recipes))
    (found,) = find_unfinished(trained)
    assert "it cannot be told what is unfinished: model must be tiny" in found.reason
    assert not found.heals


def test_studies_are_found_below_a_folder(tmp_path: Path) -> None:
    """Files called study.yaml, a few folders deep; copies in outputs, links, deep ones are not."""
    shallow = write_study(tmp_path / "a")
    prepare(shallow)
    deep = write_study(tmp_path / "b" / "c" / "d")
    write_study(tmp_path / "b" / "c" / "d" / "e")
    write_study(tmp_path / ".hidden")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "study.yaml").symlink_to(deep)
    assert (shallow.parent / "output" / "study.yaml").exists()
    assert [shallow, deep] == find_studies([tmp_path])
    assert [shallow] == find_studies([shallow, tmp_path / "a"])


def test_inputs_have_changed_when_a_named_file_has(path: Path) -> None:
    """The study file itself, or what it names."""
    for file in (path, path.parent / "manifest.csv"):
        make_older(file, 3)
    study = load_study(path)
    three_days_ago = pytest.approx(time.time() - 3 * DAY_S, abs=60)
    assert three_days_ago == inputs_changed(path, study)
    os.utime(path.parent / "manifest.csv")
    assert pytest.approx(time.time(), abs=60) == inputs_changed(path, study)
