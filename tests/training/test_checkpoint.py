"""The saved state of a training: all of it, of this training alone, and whole."""

import hashlib
import io
import math

import numpy as np
import pandas as pd
import pytest
import torch

from somaflow.errors import SchemaError, TrainingError, TrainingStopped
from somaflow.training import StopRequest, read_history
from somaflow.training import loop as loop_module
from somaflow.training.draws import decode_draws, encode_draws
from tests.training.test_stopping import ask_after


@pytest.fixture
def stopped(train, tmp_path):
    """The state file of a training that was stopped after its first epoch."""
    stop = StopRequest()
    with pytest.raises(TrainingStopped):
        train(n_epochs=3, arguments={"stop": stop, "report": ask_after(1, stop)})
    return tmp_path / "run" / "state.pt"


def test_state_holds_all_that_going_on_needs(stopped):
    """Net, optimizer, place, order, random numbers, best weights and history, as plain values."""
    state = torch.load(stopped, weights_only=True)

    parts = {"schema", "somaflow", "training", "net", "optimizer", "progress"}
    assert parts == set(state)
    assert state["optimizer"]["state"]
    progress = state["progress"]
    assert (1, 0) == (progress["epoch"], progress["step"])
    assert [0, 1, 2, 3] == sorted(progress["order"])
    assert 624 == len(progress["draws"]["key"])
    assert torch.uint8 == progress["torch_cpu"].dtype
    assert set(state["net"]) == set(progress["best_weights"])
    assert 1 == progress["best_epoch"] == progress["history"][0]["epoch"]


def test_state_is_written_at_any_step(train, monkeypatch, tmp_path):
    """With an interval of 0 each step is saved, also in the middle of an epoch."""
    places, real = [], loop_module.save_state

    def save_state(folder, training, net, optimizer, progress):
        places.append((progress.epoch, progress.step))
        real(folder, training, net, optimizer, progress)

    monkeypatch.setattr(loop_module, "save_state", save_state)
    train(arguments={"checkpoint_every_s": 0})

    assert [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] == places


def test_generator_goes_on_where_it_stood():
    """All of its state is kept, also the half of a pair of normal numbers that it holds back."""
    rng = np.random.RandomState(3)
    rng.standard_normal(5)
    copy = decode_draws(encode_draws(rng))

    assert rng.standard_normal(4).tolist() == copy.standard_normal(4).tolist()
    assert rng.random_sample(4).tolist() == copy.random_sample(4).tolist()


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_training_interrupted_at_any_step_equals_an_uninterrupted_one(
    train, monkeypatch, n_steps, tmp_path
):
    """Interrupted after every so many steps, with a net that draws random numbers itself."""
    from somaflow.segmenter import nets

    real_net = nets._read_net

    def read_net(*arguments):
        net = real_net(*arguments)
        # As Cellpose-SAM skips layers; draws from torch's generator while it is trained.
        net.level_8.register_forward_hook(
            lambda module, _inputs, output: output * (torch.rand(()) if module.training else 1)
        )
        return net

    monkeypatch.setattr(nets, "_read_net", read_net)
    settings = {"n_epochs": 3, "batch_size": 1, "noise_range": 0.3}
    expected = train("undisturbed", **settings)
    real_step = loop_module.Loop._take_step
    for _ in range(math.ceil(12 / n_steps) + 1):
        stop, taken = StopRequest(), []

        def take_step(loop, stop=stop, taken=taken):
            real_step(loop)
            taken.append(1)
            if len(taken) == n_steps:
                stop.ask("enough")

        monkeypatch.setattr(loop_module.Loop, "_take_step", take_step)
        try:
            actual = train(**settings, arguments={"stop": stop})
        except TrainingStopped:
            continue
        break

    assert expected.last_path.read_bytes() == actual.last_path.read_bytes()
    assert expected.path.read_bytes() == actual.path.read_bytes()
    pd.testing.assert_frame_equal(
        read_history(expected.path.parent).drop(columns="seconds"),
        read_history(actual.path.parent).drop(columns="seconds"),
        check_exact=True,
    )
    assert actual.record["n_resumes"] >= 12 // n_steps - 1


def test_state_of_other_settings_is_refused(train, stopped):
    """A folder that another training began is left alone."""
    before = stopped.read_bytes()

    with pytest.raises(TrainingError, match="belongs to"):
        train(n_epochs=3, seed=5)

    assert before == stopped.read_bytes()


def test_state_of_another_schema_is_refused(train, stopped):
    """The state of a later version is neither misread nor thrown away."""
    state = torch.load(stopped, weights_only=True)
    content = io.BytesIO()
    torch.save({**state, "schema": 99}, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    stopped.write_bytes(content.getvalue() + f"\nsha256 {digest}".encode())

    with pytest.raises(SchemaError, match=rf"at most 1 .*state\.pt has 99, .* {state['somaflow']}"):
        train(n_epochs=3)

    assert stopped.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000] + bytes(100) + content[5100:],
        lambda content: content[:-90] + bytes([content[-90] ^ 1]) + content[-89:],
        lambda content: b"no torch file at all",
    ],
    ids=["empty", "torn", "zeroed", "flipped", "foreign"],
)
def test_damaged_state_is_set_aside_and_the_training_begins_anew(train, stopped, damage, caplog):
    """A disk's fault costs the progress, never the training, and the evidence is kept."""
    damaged = damage(stopped.read_bytes())
    stopped.write_bytes(damaged)

    actual = train(n_epochs=3)

    assert "is damaged" in caplog.text
    assert damaged == stopped.with_name("state.pt.bad").read_bytes()
    assert 0 == actual.record["n_resumes"]
    assert train("undisturbed", n_epochs=3).path.read_bytes() == actual.path.read_bytes()
