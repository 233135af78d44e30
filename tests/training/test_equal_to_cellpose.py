"""On a CPU the trainer's weights are those of Cellpose's own train_seg, bit for bit."""

import numpy as np
import pytest
import torch

from somaflow.recipes import Recipe, TrainingSettings
from somaflow.segmenter import load_net
from somaflow.training import read_history, train_model
from somaflow.training.crops import draw_batch, draw_order, seed_draws
from somaflow.training.examples import load_examples
from tests.small_sam import save_small_cpsam
from tests.train_seg import call_train_seg
from tests.training.tiles import ids, write_tiles

SETTINGS = TrainingSettings(schedule="cellpose", crop_px=64, learning_rate=2e-3, min_cells=5)


def run_train_seg(table, folder, settings, model="tiny", save_path=None):
    """(Weights after train_seg with the same settings, as a state dict; loss of each epoch)."""
    net, *_ = load_net(model, "cpu", precision="fp32")
    rows = table[table.split == "train"].sort_values("tile_id")
    torch.manual_seed(settings.seed)
    losses = call_train_seg(net, rows, folder, settings, save_path)
    return net.state_dict(), losses


def run_ours(table, folder, settings, place, model="tiny"):
    """(Weights after our own trainer, loss of each epoch); scored on val if there is any."""
    trained = train_model(
        place,
        table,
        folder,
        ids(table, "train"),
        ids(table, "val"),
        Recipe(model=str(model)),
        settings,
        device="cpu",
    )
    return torch.load(trained.last_path, weights_only=True), read_history(place).loss


def assert_equal_weights(expected, actual):
    assert list(expected) == list(actual)
    for name, value in expected.items():
        assert torch.equal(value, actual[name]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"n_epochs": 12},
        {"n_epochs": 3, "batch_size": 2},
        {"n_epochs": 3, "batch_size": 3, "images_per_epoch": 7, "rescale": True},
        {"n_epochs": 2, "images_per_epoch": 3, "scale_range": 0.0, "crop_px": 128},
        {"n_epochs": 4, "rescale": True, "weight_decay": 0.0, "scale_range": 1.5},
        {"n_epochs": 2, "min_cells": 0, "rescale": True, "images_per_epoch": 5},
    ],
    ids=lambda changes: "-".join(f"{name}={value}" for name, value in changes.items()),
)
def test_weights_equal_those_of_train_seg(tmp_path, changes):
    """Whatever the settings, also with a tile of too few cells, and val scored in between."""
    table = write_tiles(tmp_path / "prepared", n_cells=(0, 8, 3, 9, 7), n_val=1)
    settings = SETTINGS.model_copy(update=changes)

    expected, losses = run_train_seg(table, tmp_path / "prepared", settings, save_path=tmp_path)
    actual, our_losses = run_ours(table, tmp_path / "prepared", settings, tmp_path / "run")

    assert_equal_weights(expected, actual)
    np.testing.assert_array_equal(losses, our_losses)
    start, *_ = load_net("tiny", "cpu")
    assert not torch.equal(start.head.weight, actual["head.weight"])


@pytest.mark.parametrize("n_epochs", [100, 301])
def test_long_schedule_equals_that_of_train_seg(tmp_path, n_epochs):
    """The halvings at the end of long trainings are Cellpose's."""
    table = write_tiles(tmp_path / "prepared", n_cells=(2,), n_val=0, side_px=40)
    settings = SETTINGS.model_copy(update={"n_epochs": n_epochs, "crop_px": 32, "min_cells": 0})

    expected, losses = run_train_seg(table, tmp_path / "prepared", settings, save_path=tmp_path)
    actual, our_losses = run_ours(table, tmp_path / "prepared", settings, tmp_path / "run")

    assert_equal_weights(expected, actual)
    np.testing.assert_array_equal(losses, our_losses)


def test_cellpose_sam_weights_equal_those_of_train_seg(tmp_path, monkeypatch):
    """With the real CPSAM class too, whose layers are skipped at random while it is trained."""
    checkpoint = save_small_cpsam(tmp_path / "cpsam_small", monkeypatch)
    table = write_tiles(tmp_path / "prepared", n_cells=(8, 5), n_val=1)
    settings = SETTINGS.model_copy(
        update={"n_epochs": 2, "crop_px": 256, "learning_rate": 1e-3, "min_cells": 0}
    )

    expected, losses = run_train_seg(
        table, tmp_path / "prepared", settings, checkpoint, save_path=tmp_path
    )
    actual, our_losses = run_ours(
        table, tmp_path / "prepared", settings, tmp_path / "run", checkpoint
    )

    assert_equal_weights(expected, actual)
    np.testing.assert_array_equal(losses, our_losses)
    start = torch.load(checkpoint, weights_only=True)
    assert not torch.equal(start["out.weight"], actual["out.weight"])


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("epoch", [0, 1, 17])
def test_crops_equal_those_of_cellpose(tmp_path, rescale, epoch):
    """Order, images and targets of an epoch are what Cellpose's augmentation gives."""
    from cellpose import transforms

    table = write_tiles(tmp_path, n_cells=(8, 6, 5), n_val=0)
    settings = SETTINGS.model_copy(update={"rescale": rescale, "crop_px": 72})
    examples, _ = load_examples(table, tmp_path, settings, "cpu")
    rng = seed_draws(0, epoch)

    order = draw_order(rng, examples, settings)
    chosen = [examples[index] for index in order]
    images, targets = draw_batch(rng, chosen, settings, 30.0, torch.device("cpu"))

    before = np.random.get_state()
    np.random.seed(epoch)
    assert np.random.permutation(3).tolist() == order
    zeros = np.zeros_like(chosen[0].planes[:1])
    diameters = np.array([example.diameter_px for example in chosen])
    expected_images, expected_targets, _ = transforms.random_rotate_and_resize(
        [np.concatenate([example.planes[:2], zeros]) for example in chosen],
        lbls=[example.planes[2:].numpy() for example in chosen],
        rescale=diameters / 30.0 if rescale else np.ones(3, "float32"),
        scale_range=settings.scale_range,
        bsize=settings.crop_px,
    )
    np.random.set_state(before)
    assert torch.equal(expected_images, images)
    assert torch.equal(expected_targets, targets)
