"""The main job end to end: real server, real Dask workers, the embedded model."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml

from somaflow.labelstore import open_labels
from somaflow.paths import RunPaths
from tests.flows.conftest import Run
from tests.inference.study_files import tree_digest

pytestmark = pytest.mark.server


def ask(api_url: str, kind: str, **body: Any) -> list[dict[str, Any]]:
    """Rows of the server's API."""
    answer = httpx.post(f"{api_url}/{kind}/filter", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


@pytest.fixture(scope="module")
def finished(
    synthetic_study: Path, tmp_path_factory: pytest.TempPathFactory, somaflow: Run
) -> tuple[Path, str]:
    """A study run to its end once, and what the command printed."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    shutil.copytree(synthetic_study, folder)
    done = somaflow("run", "study", folder / "study.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_study_flow_leaves_labels_and_cells_of_every_tile(finished: tuple[Path, str]) -> None:
    """After one command each tile has labels, and the cell table counts the same cells."""
    paths = RunPaths(finished[0] / "output")
    (key,) = paths.inference_keys()
    store = open_labels(paths.labels(key))
    cells = pd.read_parquet(paths.cells_folder(key))
    per_tile = cells.groupby("tile_id").size()
    assert len(store) == 32
    for tile_id in store.tile_ids:
        assert store.read(tile_id).shape == (160, 160)
        assert len(set(store.read(tile_id).ravel()) - {0}) == per_tile.get(tile_id, 0)


def test_study_flow_scores_splits_of_different_donors(finished: tuple[Path, str]) -> None:
    """Scores exist for each split, by donor, over all and per marker."""
    (path,) = (finished[0] / "output" / "evaluations").glob("*.scores.tsv")
    scores = pd.read_csv(path, sep="\t")
    assert {"train", "val", "test"} == set(scores.split)
    assert {"all", "GFAP", "NeuN", "IBA1", "OLIG2"} == set(scores.marker)
    assert {"donor"} == set(scores.split_level)
    splits = yaml.safe_load((finished[0] / "output" / "splits.yaml").read_text())
    sides = [set(donors) for donors in splits["donors"].values()]
    assert not sides[0] & sides[1] and not sides[1] & sides[2] and not sides[0] & sides[2]


def test_command_prints_scores_and_where_results_lie(finished: tuple[Path, str]) -> None:
    """The last words of the command are the table of scores and the paths of what was made."""
    folder, printed = finished
    paths = RunPaths(folder / "output")
    (key,) = paths.inference_keys()
    assert "F1 pooled" in printed
    assert f"inference    {key}: 32 of 32 tiles, 4 of 4 shards" in printed
    assert str(paths.labels(key)) in printed
    assert str(paths.cells_folder(key)) in printed


def test_overlays_of_each_marker_are_pictures(finished: tuple[Path, str]) -> None:
    """One overlay of a median test tile per marker lies beside the scores."""
    pictures = sorted((finished[0] / "output" / "overlays").rglob("*.png"))
    assert {"GFAP", "IBA1", "NeuN", "OLIG2"} == {path.name.split("-")[0] for path in pictures}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_dashboard_names_mean_something(finished: tuple[Path, str], api_url: str) -> None:
    """Flow and task runs are called after what they do, not after animals."""
    flow_runs = {run["name"] for run in ask(api_url, "flow_runs")}
    expected = {"study", "prepare", "recipes of", "segment all of"}
    assert {f"{words} synthetic" for words in expected} <= flow_runs
    task_runs = {run["name"] for run in ask(api_url, "task_runs", limit=200)}
    assert {"find tiles", "split donors", "audit leakage between splits"} <= task_runs
    assert {"baseline on test GFAP", "baseline on val OLIG2"} <= task_runs
    assert {f"shard {number} of 4" for number in range(4)} <= task_runs


def test_every_run_on_the_dashboard_has_ended(finished: tuple[Path, str], api_url: str) -> None:
    """When the command returns, the server knows of each task and flow how it ended."""
    for kind in ("task_runs", "flow_runs"):
        states = {run["name"]: run["state_type"] for run in ask(api_url, kind, limit=200)}
        assert states
        assert set(states.values()) <= {"COMPLETED", "FAILED"}, states


def test_dashboard_shows_progress_and_scores(finished: tuple[Path, str], api_url: str) -> None:
    """Artifacts: progress at 100 %, the splits, the score table, the inference."""
    artifacts = {artifact["key"]: artifact for artifact in ask(api_url, "artifacts")}
    assert float(artifacts["tiles-segmented"]["data"]) == 100.0
    assert artifacts["tiles-segmented"]["type"] == "progress"
    assert "F1 pooled" in artifacts["scores"]["data"]
    assert {"splits", "inference", "tiles-scored"} <= set(artifacts)


def test_finished_study_is_not_done_again(
    finished: tuple[Path, str], somaflow: Run, api_url: str
) -> None:
    """Run again, a finished study writes nothing new and segments nothing."""
    before = tree_digest(finished[0] / "output")
    shards = [r for r in ask(api_url, "task_runs", limit=200) if r["name"].startswith("shard ")]
    again = somaflow("run", "study", finished[0] / "study.yaml")
    assert again.returncode == 0, again.stderr
    after = [r for r in ask(api_url, "task_runs", limit=200) if r["name"].startswith("shard ")]
    assert len(shards) == len(after)
    assert before == tree_digest(finished[0] / "output")


def test_deleted_results_are_made_again_despite_the_cache(study: Path, somaflow: Run) -> None:
    """Prefect's cached result does not stand in for files that are gone."""
    output = study.parent / "output"
    assert somaflow("run", "e0-prepare", study).returncode == 0
    before = tree_digest(output / "prepared")
    shutil.rmtree(output / "prepared")
    assert somaflow("run", "e0-prepare", study).returncode == 0
    assert before == tree_digest(output / "prepared")
