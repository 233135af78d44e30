"""Only what is old and asked for by nothing goes, and only if one says so."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from somaflow.claims import claim_study
from somaflow.cleaning import Old, find_old, remove
from somaflow.cli import app
from somaflow.errors import BusyError
from somaflow.files import write_text
from somaflow.study import Study, load_study
from tests.begun import make_older, prepare, segment, write_study

SHARDS = (0, 1, 2)
FORMER = {"recipes": [{"name": "bright", "model": "threshold", "min_size_px": 40}]}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Segmented twice, the first time by a recipe that it does not have any more."""
    path = write_study(tmp_path / "mine", **FORMER)
    segment(prepare(path), *SHARDS)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | CURRENT))
    segment(prepare(path), *SHARDS)
    for file in load_study(path).output.rglob("*"):
        make_older(file, days=100)
    return load_study(path)


CURRENT = {"recipes": [{"name": "bright", "model": "threshold"}]}


def key_of(study: Study) -> str:
    """Of the inference as the study is now."""
    return segment(study)


def test_superseded_inference_goes_and_the_current_one_stays(study: Study) -> None:
    """Ledger, cells and labels of the former recipe are listed and removed; no others are."""
    current = key_of(study)
    (former,) = set(study.paths.inference_keys()) - {current}
    (old,), note = find_old(study, 90)
    assert (f"inference {former} by recipe bright", "") == (old.what, note)
    folders = [study.paths.ledger(former), study.paths.cells_folder(former)]
    assert (*folders, study.paths.labels(former)) == old.places
    others = {path for path in study.output.rglob("*") if former not in str(path)}
    remove(study, [old])
    assert others == set(study.output.rglob("*"))
    assert [current] == study.paths.inference_keys()


def test_nothing_young_goes(study: Study) -> None:
    """What was written to within the days stays, whatever it is."""
    assert ([], "") == find_old(study, 101)


def test_logs_results_and_reports_go_by_their_age(study: Study) -> None:
    """The newest report stays, however old; files alone are counted."""
    paths = study.paths
    for place in ("logs/slurm/somaflow-1.err", "task-results/a", "reports/1/report.html"):
        write_text(study.output / place, "12345")
    write_text(paths.report("2") / "report.html", "newest")
    write_text(paths.logs / "slurm" / "somaflow-2.err", "young")
    for place in ("logs/slurm/somaflow-1.err", "task-results/a"):
        make_older(study.output / place, days=91)
    for stamp in "12":
        make_older(paths.report(stamp) / "report.html", days=91)
    old, _ = find_old(study, 90)
    found = {one.what: one.n_bytes for one in old if not one.what.startswith("inference")}
    expected = {"1 logs of jobs": 5, "1 results of tasks, for Prefect's cache": 5}
    assert expected | {"report of 1": 5} == found


def test_inferences_stay_where_the_current_one_cannot_be_told(study: Study) -> None:
    """A model file that is not there is a note, and no reason to remove anything."""
    broken = {"name": "bright", "model": "/nowhere/weights.pt"}
    path = study.output.parent / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"recipes": [broken]}))
    old, note = find_old(load_study(path), 90)
    assert [] == old
    assert "/nowhere/weights.pt" in note


def test_nothing_goes_while_a_run_is_at_work(study: Study) -> None:
    """Whoever segments the study keeps its outputs as they are."""
    tiles = study.paths.tiles
    with (
        claim_study(study.paths, "a run", "wait", lambda _: None),
        pytest.raises(BusyError, match="a run"),
    ):
        remove(study, [Old("tiles", (tiles,), 1)])
    assert tiles.exists()


def test_command_lists_first_and_removes_on_request(study: Study) -> None:
    """Without --yes the disk is as before; with it the listing says what went."""
    path = str(study.output.parent / "study.yaml")
    former = [key for key in study.paths.inference_keys() if key != key_of(study)]
    listed = CliRunner().invoke(app, ["clean", path])
    assert (0, True) == (listed.exit_code, f"inference {former[0]}" in listed.stdout)
    assert "run again with --yes" in listed.stdout
    assert 2 == len(study.paths.inference_keys())
    removed = CliRunner().invoke(app, ["clean", path, "--yes"])
    assert "MB  removed" in removed.stdout
    assert [key_of(study)] == study.paths.inference_keys()
