"""A training that is killed or stopped, at whatever moment, ends as if nothing had happened."""

import os
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from somaflow.files import sweep_temporaries
from somaflow.recipes import TrainingSettings
from somaflow.training import is_trained, read_history, read_training
from tests.training.tiles import write_tiles
from tests.training.worker import start_training

SETTINGS = TrainingSettings(n_epochs=8, crop_px=64, learning_rate=1e-3)
LONG = SETTINGS.model_copy(update={"n_epochs": 30})
N_KILLS = 10
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """(folder, table) of five train and two val tiles."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, write_tiles(folder, n_cells=(8, 9, 0, 8, 6))


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """The folder of a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(folder, prepared, SETTINGS)
    return folder


def wait_for(what, process):
    """Waits until `what()` is true; fails if the process ends or nothing happens."""
    limit = time.monotonic() + LIMIT_S
    while not what():
        assert process.is_alive(), "the training ended too early"
        assert time.monotonic() < limit, "nothing happened in time"
        time.sleep(0.002)


def finish(folder, prepared, settings):
    """Trains to the end, undisturbed."""
    process = start_training(folder, prepared, settings, checkpoint_every_s=1e9)
    process.join(LIMIT_S)
    assert process.exitcode == 0


def state_time_ns(folder: Path) -> int:
    path = folder / "state.pt"
    return path.stat().st_mtime_ns if path.exists() else 0


def assert_same_training(expected: Path, actual: Path) -> None:
    """Weights byte for byte, history but for its times, best epoch, and nothing left over."""
    for name in ("best.pt", "last.pt"):
        assert (expected / name).read_bytes() == (actual / name).read_bytes(), name
    histories = [read_history(folder).drop(columns="seconds") for folder in (expected, actual)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert read_training(expected).best_epoch == read_training(actual).best_epoch
    assert not (actual / "state.pt").exists()
    assert sweep_temporaries(actual) == []


@pytest.mark.slow
@pytest.mark.long
def test_training_killed_ten_times_equals_an_undisturbed_one(prepared, tmp_path):
    """SIGKILL at ten random moments, each time started again: the same bytes at the end."""
    finish(tmp_path / "undisturbed", prepared, LONG)
    folder, moments = tmp_path / "run", random.Random(3)
    for _ in range(N_KILLS):
        before = state_time_ns(folder)
        process = start_training(folder, prepared, LONG)
        wait_for(lambda before=before: state_time_ns(folder) > before, process)
        time.sleep(moments.uniform(0, 0.1))
        assert process.is_alive(), "the training ended before it could be killed"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not is_trained(folder)
    finish(folder, prepared, LONG)

    assert read_training(folder).record["n_resumes"] == N_KILLS
    assert_same_training(tmp_path / "undisturbed", folder)


@pytest.mark.parametrize(
    "name", ["history.parquet", "last.pt", "best.pt", "training.json", "state.pt"]
)
def test_training_killed_while_it_writes_a_file_is_finished_by_the_next(
    prepared, undisturbed, tmp_path, name
):
    """Death just before a file is in its place (or the state is removed) costs nothing."""
    process = start_training(tmp_path / "run", prepared, SETTINGS, 0.1, die_at=name)
    process.join(LIMIT_S)
    assert process.exitcode == -signal.SIGKILL

    finish(tmp_path / "run", prepared, SETTINGS)

    assert_same_training(undisturbed, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_training_stops_in_good_order_at_a_signal(prepared, undisturbed, tmp_path, number):
    """It saves, says where it stands and why, exits normally, and goes on at the next start."""
    folder = tmp_path / "run"
    process = start_training(folder, prepared, SETTINGS, checkpoint_every_s=1e9)
    wait_for(lambda: len(read_history(folder)) >= 1, process)
    assert process.pid is not None

    os.kill(process.pid, number)
    process.join(LIMIT_S)

    assert process.exitcode == 0
    message = (tmp_path / "message.txt").read_text()
    assert f"the process was sent {number.name}" in message
    assert f"of {SETTINGS.n_epochs} epochs" in message
    assert "run it again" in message
    assert (folder / "state.pt").exists()
    assert not is_trained(folder)
    finish(folder, prepared, SETTINGS)
    assert_same_training(undisturbed, folder)


def test_second_training_of_a_folder_waits_for_the_first(prepared, undisturbed, tmp_path):
    """Two processes with one folder: one trains, the other takes its result."""
    processes = [start_training(tmp_path / "run", prepared, SETTINGS, 0.1) for _ in range(2)]
    for process in processes:
        process.join(LIMIT_S)

    assert [process.exitcode for process in processes] == [0, 0]
    assert read_training(tmp_path / "run").record["n_resumes"] == 0
    assert_same_training(undisturbed, tmp_path / "run")


def test_training_takes_over_from_a_killed_one_that_held_the_folder(
    prepared, undisturbed, tmp_path
):
    """A waiting process goes on as soon as the one it waits for is dead."""
    folder = tmp_path / "run"
    first = start_training(folder, prepared, SETTINGS)
    wait_for(lambda: state_time_ns(folder) > 0, first)
    second = start_training(folder, prepared, SETTINGS)
    time.sleep(0.5)
    first.kill()
    first.join()
    second.join(LIMIT_S)

    assert second.exitcode == 0
    assert_same_training(undisturbed, folder)
