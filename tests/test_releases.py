"""Who made a study's outputs, from their stamps alone."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

import somaflow
from somaflow.files import write_bytes, write_text
from somaflow.paths import RunPaths
from somaflow.releases import find_origin
from somaflow.schema import CELLS, TILES
from somaflow.stamps import encode_table
from somaflow.training.checkpoint import Progress, save_state

KEY = "0123456789abcdef0123"


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path)


def write_run(paths: RunPaths, **versions: str) -> None:
    """The record of an inference made with other libraries."""
    write_text(paths.run_record(KEY), json.dumps({"schema_version": 1, "versions": versions}))


def test_outputs_of_this_release_need_no_words(paths: RunPaths) -> None:
    """Neither a new study nor one that nobody else has touched."""
    assert [] == find_origin(paths).describe()
    write_bytes(paths.tiles, encode_table(TILES, pd.DataFrame({"tile_id": ["a"]})))
    assert (somaflow.__version__,) == find_origin(paths).releases
    assert [] == find_origin(paths).describe()


def test_files_without_a_stamp_are_of_the_first_release(paths: RunPaths) -> None:
    """0.1.0 is named, and that its files are read."""
    pd.DataFrame({"tile_id": ["a"]}).to_parquet(paths.tiles)
    expected = [f"files by somaflow 0.1.0; this is {somaflow.__version__}, which reads them"]
    assert expected == find_origin(paths).describe()


def test_ledger_records_tell_no_release(paths: RunPaths) -> None:
    """They are the same whichever release commits them, and name none."""
    write_text(paths.record(KEY, 0), json.dumps({"schema_version": 1}))
    assert () == find_origin(paths).releases
    assert [] == find_origin(paths).describe()


def test_other_libraries_are_named_once_each(paths: RunPaths) -> None:
    """How many inferences and trainings, with which version, and what is here."""
    write_run(paths, torch="1.0", numpy=__import__("numpy").__version__)
    for key in ("a", "b"):
        record = {"versions": {"torch": "1.0", "somaflow": "0.1.0"}}
        write_text(paths.checkpoint(key) / "training.json", json.dumps(record))
    (line,) = find_origin(paths).libraries
    here = torch.__version__.split("+")[0]
    assert f"torch 1.0 made 1 inference(s) and 2 training(s), here is {here}" in line


def test_library_that_is_gone_is_said(paths: RunPaths) -> None:
    """One that this release does not use any more is no crash."""
    write_run(paths, abandoned="2.0")
    (line,) = find_origin(paths).libraries
    assert line.startswith("abandoned 2.0 made 1 inference(s), here is none")


@pytest.mark.parametrize("content", [b"", b"{", b"PAR1", b"[1]"])
def test_damaged_files_are_passed_over(paths: RunPaths, content: bytes) -> None:
    """Who needs them finds the damage and makes them again: that is no matter of releases."""
    damaged = [
        *(paths.tiles, paths.splits, paths.run_record(KEY), paths.cells(KEY, 0)),
        *(paths.checkpoint("a") / "state.pt", paths.label_array(KEY, "8x8") / "zarr.json"),
    ]
    for path in damaged:
        write_bytes(path, content)
    assert () == find_origin(paths).problems


def test_state_of_a_running_training_is_looked_at(paths: RunPaths) -> None:
    """It tells its release; one of a newer layout is a problem."""
    net = torch.nn.Linear(1, 1)
    folder = paths.checkpoint("a")
    save_state(folder, "digest", net, torch.optim.SGD(net.parameters()), Progress())
    assert (somaflow.__version__,) == find_origin(paths).releases
    content = io.BytesIO()
    torch.save({"schema": 99, "somaflow": "9.9"}, content)
    write_bytes(folder / "state.pt", content.getvalue())
    (problem,) = find_origin(paths).problems
    assert "state.pt has 99, written by somaflow 9.9" in problem


def test_every_problem_is_listed(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files that cannot be read, not the first alone."""
    stamp = {"schema_version": 2, "somaflow": "0.9"}
    monkeypatch.setattr("somaflow.stamps.make_stamp", lambda kind: stamp)
    for shard in range(3):
        write_bytes(paths.cells(KEY, shard), encode_table(CELLS, pd.DataFrame({"label": [1]})))
    origin = find_origin(paths)
    assert 3 == len(origin.problems)
    (line,) = origin.describe()
    assert "somaflow 0.9; " in line
    assert line.endswith("which cannot read 3 of them")
