"""The main job end to end: real server, real Dask workers, the embedded model."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml

from somaflow.labelstore import open_labels
from somaflow.paths import RunPaths
from tests.flows.conftest import Finished, Run
from tests.inference.study_files import tree_digest
from tests.permissions import open_to_others

pytestmark = pytest.mark.server


def ask(api_url: str, kind: str, since: str, until: str | None = None) -> list[dict[str, Any]]:
    """What the server's API knows of flow or task runs that began between these times."""
    body = {kind: {"start_time": {"after_": since, "before_": until}}, "limit": 200}
    answer = httpx.post(f"{api_url}/{kind}/filter", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def artifacts_by_key(api_url: str) -> dict[str, dict[str, Any]]:
    """The newest artifact of each key."""
    answer = httpx.post(f"{api_url}/artifacts/latest/filter", json={}, timeout=30)
    answer.raise_for_status()
    return {artifact["key"]: artifact for artifact in answer.json()}


def test_study_flow_leaves_labels_and_cells_of_every_tile(finished: Finished) -> None:
    """After one command each tile has labels, and the cell table counts the same cells."""
    paths = RunPaths(finished.folder / "output")
    assert sorted(finished.keys.values()) == paths.inference_keys()
    assert 2 == len(paths.inference_keys())
    for key in finished.keys.values():
        store = open_labels(paths.labels(key))
        cells = pd.read_parquet(paths.cells_folder(key))
        per_tile = cells.groupby("tile_id").size()
        assert len(store) == 32
        for tile_id in store.tile_ids:
            assert store.read(tile_id).shape == (160, 160)
            assert len(set(store.read(tile_id).ravel()) - {0}) == per_tile.get(tile_id, 0)


def test_all_that_a_study_makes_is_its_owners_alone(finished: Finished) -> None:
    """Labels, cells, checkpoints, task results, reports: 0600, and their folders 0700."""
    output = finished.folder / "output"
    assert len(list(output.rglob("*"))) > 100
    assert [] == open_to_others(output)
    assert 0o700 == output.stat().st_mode & 0o777


def test_study_flow_scores_splits_of_different_donors(finished: Finished) -> None:
    """Scores exist for each split, by donor, over all and per marker."""
    (path,) = (finished.folder / "output" / "experiments" / "e1-recipes").glob("*/scores.tsv")
    scores = pd.read_csv(path, sep="\t")
    assert {"train", "val", "test"} == set(scores.split)
    assert {"all", "GFAP", "NeuN", "IBA1", "OLIG2"} == set(scores.marker)
    assert {"donor"} == set(scores.split_level)
    splits = yaml.safe_load((finished.folder / "output" / "splits.yaml").read_text())
    sides = [set(donors) for donors in splits["donors"].values()]
    assert not sides[0] & sides[1] and not sides[1] & sides[2] and not sides[0] & sides[2]


def test_command_prints_scores_and_where_results_lie(finished: Finished) -> None:
    """The last words of the command are the table of scores and the paths of what was made."""
    folder, printed = finished.folder, finished.printed
    paths = RunPaths(folder / "output")
    key = finished.keys["hybrid-gated"]
    assert "F1 pooled" in printed
    assert f"inference        {key}: 32 of 32 tiles, 4 of 4 shards" in printed
    assert str(paths.labels(key)) in printed
    assert str(paths.cells_folder(key)) in printed


def test_overlays_of_each_marker_are_a_picture(finished: Finished) -> None:
    """One picture with a median test tile per marker lies beside the scores."""
    (path,) = (finished.folder / "output" / "experiments" / "e1-recipes").glob("*/overlays.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_dashboard_names_mean_something(finished: Finished, api_url: str) -> None:
    """Flow and task runs are called after what they do, not after animals."""
    flow_runs = {run["name"] for run in ask(api_url, "flow_runs", finished.started, finished.ended)}
    expected = {"study", "prepare", "recipes of", "segment all of"}
    assert {f"{words} synthetic" for words in expected} <= flow_runs
    task_runs = {run["name"] for run in ask(api_url, "task_runs", finished.started, finished.ended)}
    assert {"find tiles", "split donors", "audit leakage between splits"} <= task_runs
    assert {"baseline on test", "baseline on val", "baseline on train"} <= task_runs
    assert {f"shard {number} of 4" for number in range(4)} <= task_runs


def test_every_run_on_the_dashboard_has_ended(finished: Finished, api_url: str) -> None:
    """When the command returns, the server knows of each task and flow how it ended."""
    for kind in ("task_runs", "flow_runs"):
        runs = ask(api_url, kind, finished.started, finished.ended)
        states = {run["name"]: run["state_type"] for run in runs}
        assert states
        assert {"COMPLETED"} == set(states.values()), states


def test_dashboard_shows_progress_and_scores(finished: Finished, api_url: str) -> None:
    """Artifacts: progress at 100 %, the splits, the score table, the inference."""
    artifacts = artifacts_by_key(api_url)
    assert float(artifacts["tiles-segmented"]["data"]) == 100.0
    assert artifacts["tiles-segmented"]["type"] == "progress"
    assert float(artifacts["tiles-segmented-with-baseline"]["data"]) == 100.0
    assert "F1 pooled" in artifacts["e1-recipes"]["data"]
    assert {"splits", "inference", "tiles-scored"} <= set(artifacts)


def ask_all(api_url: str, kind: str) -> Iterator[str]:
    """Everything of a kind that the server's API tells, as text."""
    for offset in itertools.count(0, 200):
        body = {"limit": 200, "offset": offset}
        answer = httpx.post(f"{api_url}/{kind}/filter", json=body, timeout=60)
        answer.raise_for_status()
        if not answer.json():
            return
        yield answer.text


def test_api_names_no_donor(finished: Finished, api_url: str) -> None:
    """Logs, artifacts and runs of every experiment, read as the dashboard reads them."""
    tiles = pd.read_parquet(RunPaths(finished.folder / "output").tiles)
    donors = set(tiles.donor)
    assert 4 == len(donors)
    for kind in ("logs", "artifacts", "flow_runs", "task_runs"):
        told = "".join(ask_all(api_url, kind))
        assert "synthetic" in told or kind == "task_runs"
        assert set() == {donor for donor in donors if donor in told}, kind


def test_deleted_results_are_made_again_despite_the_cache(study: Path, somaflow: Run) -> None:
    """Prefect's cached result does not stand in for files that are gone."""
    output = study.parent / "output"
    assert somaflow("run", "e0-prepare", study).returncode == 0
    before = tree_digest(output / "prepared")
    shutil.rmtree(output / "prepared")
    assert somaflow("run", "e0-prepare", study).returncode == 0
    assert before == tree_digest(output / "prepared")


def test_report_holds_the_whole_study(finished: Finished) -> None:
    """One report at the end: every part was run, every column of every table is described."""
    (folder,) = (finished.folder / "output" / "reports").iterdir()
    text = (folder / "report.html").read_text()
    assert "Not run." not in text
    shown = ("e1-recipes-overlays", "e5-donors-associations", "e5-donors-effects")
    for picture in shown:
        assert (folder / "figures" / f"{picture}.png").exists()
        assert (folder / "figures" / f"{picture}.pdf").exists()
    columns = pd.read_csv(folder / "columns.tsv", sep="\t")
    assert [] == columns[columns.meaning == "not described"].to_dict("records")


def test_donors_are_tabulated_for_both_recipes(finished: Finished) -> None:
    """Four donors are too few for a finding; they have numbers by either recipe, and it is said."""
    (folder,) = (finished.folder / "output" / "donors").glob("*/summary.md")
    donors = pd.read_csv(folder.parent / "donors.tsv", sep="\t", dtype={"donor": str})
    assert {"hybrid-gated", "baseline"} == set(donors.recipe)
    assert 4 == donors.donor.nunique()
    assert "donors" in folder.read_text()
    assert "0 of" in folder.read_text()
