"""Training and experiments end to end: real server, real Dask workers, the embedded model."""

import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from somaflow.experiments.budgets import plan_budgets
from somaflow.recipebook import find_recipe
from somaflow.settings import PRESETS
from somaflow.study import load_study
from somaflow.training import read_training
from tests.conftest import REPOSITORY
from tests.flows.conftest import Finished, Run
from tests.flows.test_study_flow import artifacts_by_key, ask
from tests.inference.study_files import tree_digest

pytestmark = [pytest.mark.server, pytest.mark.slow]


def add_fields(study: Path, fields: dict[str, Any]) -> None:
    """Adds fields to a study file."""
    content = yaml.safe_load(study.read_text()) | fields
    study.write_text(yaml.safe_dump(content, sort_keys=False))


def page(study: Path, name: str) -> Path:
    """Folder of the current page of an experiment."""
    paths = load_study(study).paths
    return paths.experiment(name, paths.current_experiment(name).read_text().strip())


def digests_of_weights(study: Path) -> dict[str, str]:
    """sha256 of each training's best weights, by its key."""
    folders = (load_study(study).output / "checkpoints").iterdir()
    return {folder.name: read_training(folder).sha256 for folder in folders}


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """Study file of a copy in which nothing is trained, scored or swept yet."""
    shutil.copytree(finished.folder, tmp_path / "study")
    output = tmp_path / "study" / "output"
    for name in ("checkpoints", "evaluations", "experiments", "recipes", "sweeps", "task-results"):
        shutil.rmtree(output / name)
    return tmp_path / "study" / "study.yaml"


def test_recipes_are_trained_scored_and_compared(finished: Finished) -> None:
    """One table holds every recipe, overall and per marker, with differences to the baseline."""
    scores = pd.read_csv(page(finished.study, "e1-recipes") / "scores.tsv", sep="\t")
    assert {"baseline", "generic", "GFAP-only", "hybrid"} == set(scores.recipe)
    assert {"all", "GFAP", "NeuN", "IBA1", "OLIG2"} == set(scores.marker)
    assert {"train", "val", "test"} == set(scores.split)
    own = scores[scores.recipe == "baseline"]
    assert (own.f1_pooled_difference == 0).all()
    assert {"f1_pooled_low", "f1_pooled_difference_high", "ap50_image_mean"} <= set(scores)


def test_hybrid_is_the_best_on_val_of_each_marker(finished: Finished) -> None:
    """The hybrid takes for each marker the recipe that val says is best, whatever test says."""
    folder = page(finished.study, "e1-recipes")
    scores = pd.read_csv(folder / "scores.tsv", sep="\t")
    choices = pd.read_csv(folder / "hybrid.tsv", sep="\t").set_index("marker")
    val = scores[(scores.split == "val") & (scores.recipe != "hybrid")]
    best = val.groupby("marker").f1_pooled.max()
    for marker in ("GFAP", "NeuN", "IBA1", "OLIG2"):
        assert choices.val_f1_pooled[marker] == pytest.approx(best[marker])


def test_made_recipes_are_found_by_name(finished: Finished) -> None:
    """Each experiment's recipes are files with the checksum of their weights."""
    study = load_study(finished.study)
    for name in ("generic", "hybrid", "generic-gated", "generic-best-f1", "generic-precise"):
        recipe = find_recipe(study, name)
        sets = [recipe, *recipe.per_marker.values()]
        assert all(Path(part.model).is_file() for part in sets if part.model != "tiny")
        assert name == recipe.name
    gated = find_recipe(study, "generic-gated")
    assert {"GFAP", "NeuN", "IBA1", "OLIG2"} == set(gated.per_marker)


def test_all_tiles_are_segmented_with_the_made_recipe(finished: Finished) -> None:
    """The inference recipe of the study is one that an experiment made."""
    paths = load_study(finished.study).paths
    key = finished.keys["hybrid-gated"]
    run = yaml.safe_load(paths.run_record(key).read_text())
    assert {"GFAP", "NeuN", "IBA1", "OLIG2"} == set(run["recipe"]["per_marker"])
    assert "32 of 32 tiles" in finished.printed


def test_saturated_budget_is_not_run_twice(finished: Finished) -> None:
    """Budgets above what a marker has are capped; one with the same tiles is that run again."""
    runs = pd.read_csv(page(finished.study, "e2-label-budget") / "runs.tsv", sep="\t")
    assert ["trained", "trained", "same tiles as budget 50"] == runs.status.tolist()
    curve = pd.read_csv(page(finished.study, "e2-label-budget") / "curve.tsv", sep="\t")
    by_budget = curve[curve.marker == "all"].set_index("budget").f1_pooled
    assert by_budget[50] == by_budget[60]


def test_equal_work_is_found_whatever_it_is_called(finished: Finished) -> None:
    """The budget that takes all tiles is the generic training of e1-recipes: not trained twice."""
    folders = list((load_study(finished.study).output / "checkpoints").iterdir())
    assert 3 == len(folders)


def test_gating_never_adds_a_cell(finished: Finished) -> None:
    """Raw against gated on test: never more cells, and what was removed adds up."""
    folder = page(finished.study, "e3-gating")
    scores = pd.read_csv(folder / "generic-scores.tsv", sep="\t")
    raw, gated = (
        scores[scores.recipe == name].set_index("marker").n_predicted
        for name in ("generic", "generic-gated")
    )
    assert (gated <= raw).all()
    removed = pd.read_csv(folder / "generic-removed.tsv", sep="\t")
    total = removed[["tp_removed", "fp_removed"]].to_numpy().sum()
    assert raw["all"] - gated["all"] == total


def test_operating_points_are_the_best_settings_on_val(finished: Finished) -> None:
    """105 settings a marker; the chosen ones are the best of the table, and test is scored."""
    folder = page(finished.study, "e4-thresholds")
    settings = pd.read_csv(folder / "generic-settings.tsv", sep="\t")
    points = pd.read_csv(folder / "generic-points.tsv", sep="\t")
    assert {105} == set(settings.groupby("marker").size())
    assert {"val"} == set(settings.split)
    best = points[points.point == "best-f1"].set_index("marker").f1_pooled
    assert best.to_dict() == settings.groupby("marker").f1_pooled.max().to_dict()
    test = pd.read_csv(folder / "generic-test.tsv", sep="\t")
    assert {"generic", "generic-best-f1", "generic-precise"} == set(test.recipe)
    assert {"test"} == set(test.split)


def test_diagnosis_names_the_marker_that_does_worst(finished: Finished) -> None:
    """The page of the thresholds says in words why the worst marker fails."""
    summary = (page(finished.study, "e4-thresholds") / "summary.md").read_text()
    assert "Why" in summary
    assert any(f"diagnosis-{m}.png" in summary for m in ("GFAP", "NeuN", "IBA1", "OLIG2"))


def test_dashboard_shows_pages_with_pictures(finished: Finished, api_url: str) -> None:
    """Each experiment's page is an artifact with its tables and pictures, and health is shown."""
    artifacts = artifacts_by_key(api_url)
    for name in ("e1-recipes", "e2-label-budget", "e3-gating", "e4-thresholds"):
        assert "data:image/jpeg;base64," in artifacts[name]["data"]
        assert "| --- |" in artifacts[name]["data"]
    health = artifacts["training-generic"]
    assert health["type"] == "progress"
    assert float(health["data"]) == 100.0
    assert "cpu" in health["description"]


def test_every_page_has_the_files_it_shows(finished: Finished) -> None:
    """Every picture that a page links to lies beside it."""
    for name in ("e1-recipes", "e2-label-budget", "e3-gating", "e4-thresholds"):
        folder = page(finished.study, name)
        text = (folder / "summary.md").read_text()
        linked = [part.split(")")[0] for part in text.split("](")[1:]]
        assert linked
        for file in linked:
            assert (folder / file).read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_finished_experiments_are_not_done_again(
    finished: Finished, somaflow: Run, api_url: str
) -> None:
    """Run again, nothing is trained, scored or swept, and no file changes."""
    output = load_study(finished.study).output
    before = tree_digest(output)
    again_from = datetime.now(UTC).isoformat()
    again = somaflow("run", "study", finished.study)
    assert again.returncode == 0, again.stderr
    names = [run["name"] for run in ask(api_url, "task_runs", again_from)]
    prefixes = ("train ", "generic", "baseline", "budget", "thresholds", "cells of", "overlays")
    assert [] == [name for name in names if name.startswith(prefixes)]
    assert before == tree_digest(output)


@pytest.mark.long
def test_every_recipe_is_trained_and_scored_with_several_seeds(
    copied: Path, experiments: dict[str, Any], somaflow: Run
) -> None:
    """All five presets, two seeds: each marker's own, marker-only, balanced, two-stage, hybrid."""
    tuning = {**experiments["fine_tuning"], "recipes": list(PRESETS), "seeds": [0, 1]}
    add_fields(copied, {"fine_tuning": tuning})
    done = somaflow("run", "e1-recipes", copied)
    assert done.returncode == 0, done.stderr
    folder = page(copied, "e1-recipes")
    scores = pd.read_csv(folder / "scores.tsv", sep="\t")
    own = {f"{marker}-only" for marker in ("GFAP", "NeuN", "IBA1", "OLIG2")}
    trained = {"generic", "without-dapi", "balanced", "two-stage", *own}
    again = {f"{recipe}-seed1" for recipe in {*trained, "hybrid"}}
    assert {"baseline", "hybrid", *trained, *again} == set(scores.recipe)
    of_test = scores[scores.split == "test"].groupby("marker").recipe
    assert {"all", "GFAP", "NeuN", "IBA1", "OLIG2"} == set(of_test.groups)
    assert (of_test.nunique() >= len(trained)).all()
    # One training a recipe and seed; two-stage is one of each marker.
    assert 2 * (3 + 4 + 4) == len(digests_of_weights(copied))
    seeds = pd.read_csv(folder / "seeds.tsv", sep="\t")
    assert trained <= set(seeds.recipe)
    of_all = seeds[(seeds.split == "test") & (seeds.marker == "all")].set_index("recipe")
    assert (of_all.n_seeds[list(trained)] == 2).all()
    assert (of_all.f1_pooled_seed_sd[list(trained)] >= 0).all()
    study = load_study(copied)
    assert "marker" == find_recipe(study, "without-dapi").channels
    assert {"GFAP", "NeuN", "IBA1", "OLIG2"} == set(find_recipe(study, "two-stage").per_marker)


@pytest.mark.long
def test_killed_training_goes_on_to_the_same_weights(
    finished: Finished, copied: Path, experiments: dict[str, Any], environment: dict[str, str]
) -> None:
    """`kill -9` of the command in the middle of a training: run again, the weights are the same."""
    tuning = {**experiments["fine_tuning"], "checkpoint_minutes": 0.001}
    add_fields(copied, {"fine_tuning": tuning})
    command = [sys.executable, "-m", "somaflow", "run", "e1-recipes", str(copied)]
    output = load_study(copied).output
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(output.glob("checkpoints/*/state.pt")) and process.poll() is None:
        assert time.monotonic() < deadline, "no training saved itself in time"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(output.glob("checkpoints/*/state.pt")), "nothing was left to go on with"
    again = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    undisturbed = digests_of_weights(finished.study)
    resumed = digests_of_weights(copied)
    assert 2 == len(resumed)
    assert resumed.items() <= undisturbed.items()


@pytest.mark.long
def test_one_failing_run_does_not_stop_the_others(copied: Path, somaflow: Run) -> None:
    """A budget whose tile cannot be read fails in words; the other runs and the curve are made."""
    add_fields(copied, {"label_budgets": {"budgets": [1, 50], "repeats": 1}})
    study = load_study(copied)
    (prepared,) = (study.output / "prepared").iterdir()
    table = pd.read_parquet(prepared / "prepared.parquet")
    assert study.label_budgets is not None
    small, large = plan_budgets(study.label_budgets, table, study.seed)
    victim = sorted(set(large.train_ids) - set(small.train_ids))[0]
    image = prepared / table.set_index("tile_id").image_path[victim]
    image.write_bytes(image.read_bytes()[:100])
    done = somaflow("run", "e2-label-budget", copied)
    assert done.returncode == 1
    assert "1 of 2 run(s) failed, the others are kept" in done.stderr
    assert "budget-50-repeat-0" in done.stderr
    runs = pd.read_csv(page(copied, "e2-label-budget") / "runs.tsv", sep="\t")
    assert ["trained", "failed"] == runs.status.tolist()


def test_experiment_before_its_recipes_says_what_to_run(copied: Path, somaflow: Run) -> None:
    """Gating recipes that were never trained names the flow that makes them."""
    done = somaflow("run", "e3-gating", copied)
    assert done.returncode == 1
    assert "run the flow that makes it first (e1-recipes" in done.stderr


def test_made_recipes_move_with_the_output(finished: Finished, tmp_path: Path) -> None:
    """A copied study finds the weights in its own output folder."""
    shutil.copytree(finished.folder, tmp_path / "moved")
    moved = load_study(tmp_path / "moved" / "study.yaml")
    assert Path(find_recipe(moved, "generic").model).is_relative_to(moved.output)
