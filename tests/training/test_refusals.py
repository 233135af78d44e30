"""What a training refuses or leaves out, and that it says so."""

import numpy as np
import pytest
import torch

from somaflow.errors import ModelError, TrainingError
from somaflow.recipes import Recipe, TrainingSettings
from somaflow.training import is_trained, read_history, read_training, train_model
from somaflow.training import loop as loop_module
from tests.small_sam import save_small_cpsam
from tests.training.tiles import ids, write_tiles

SOME_SHA256 = "a" * 64


def test_damaged_weights_are_trained_anew(train, caplog):
    """A finished folder counts only while its weights are those of its record."""
    first = train()
    content = first.path.read_bytes()
    first.path.write_bytes(content[:-100])
    assert not is_trained(first.path.parent)

    second = train()

    assert "training anew" in caplog.text
    assert content == second.path.read_bytes()


def test_folder_of_another_training_is_refused(train):
    """Different work never overwrites a training, finished or not."""
    train()

    with pytest.raises(TrainingError, match="choose another folder"):
        train(n_epochs=3)


def test_reading_an_unfinished_training_is_refused(tmp_path):
    """A folder without a record is not a model."""
    assert not is_trained(tmp_path)
    assert read_history(tmp_path).empty
    with pytest.raises(TrainingError, match=r"training\.json"):
        read_training(tmp_path)


def test_tiles_with_few_cells_are_named(train, tmp_path, caplog):
    """An image below min_cells is left out, in the record and in the log with its reason."""
    table = write_tiles(tmp_path / "few", n_cells=(2, 8, 0))

    trained = train(
        table=table,
        prepared_folder=tmp_path / "few",
        min_cells=5,
    )

    dropped = {tile["tile_id"]: tile["reason"] for tile in trained.record["dropped"]}
    assert ["t01"] == trained.record["train_ids"]
    assert {"t00", "t02"} == set(dropped)
    assert "2 cells, fewer than min_cells = 5" == dropped["t00"]
    assert "t02: 0 cells" in caplog.text


def test_training_without_an_image_left_is_refused(train, tmp_path):
    """Where min_cells leaves nothing, the error names the images."""
    table = write_tiles(tmp_path / "few", n_cells=(2, 0))

    with pytest.raises(TrainingError, match="t00: 2 cells") as caught:
        train(table=table, prepared_folder=tmp_path / "few", val_ids=[], min_cells=5)

    assert "t01: 0 cells" in str(caught.value)


def test_bad_ids_are_refused_all_at_once(train):
    """Unknown and double tiles, and tiles in both train and val, are named in one error."""
    with pytest.raises(TrainingError) as caught:
        train(train_ids=["t00", "t01", "lost"], val_ids=["v00", "t01"])

    assert "lost" in str(caught.value)
    assert "t01" in str(caught.value)
    with pytest.raises(TrainingError, match="none to train on"):
        train(train_ids=[])


def test_bf16_on_a_cpu_is_refused(train):
    """Nothing is trained in another precision than asked for."""
    with pytest.raises(TrainingError, match="precision must be fp32"):
        train(precision="bf16")


def test_other_base_weights_than_asked_for_are_refused(train):
    """A base recipe's checksum is checked before anything is trained."""
    with pytest.raises(ModelError, match="sha256"):
        train(base=Recipe(model_sha256=SOME_SHA256))


def test_loss_that_is_not_finite_ends_the_training_with_its_whereabouts(train, monkeypatch):
    """The error names epoch, step, tiles and learning rate; the last saved state is kept."""
    from cellpose import train as cellpose_train

    real, calls = cellpose_train._loss_fn_seg, []

    def become_nan(targets, predicted, device):
        calls.append(1)
        return real(targets, predicted, device) * (np.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(cellpose_train, "_loss_fn_seg", become_nan)
    with pytest.raises(TrainingError, match="epoch 2, step 2 at learning rate") as caught:
        train(arguments={"checkpoint_every_s": 0}, n_epochs=3)

    assert "t0" in str(caught.value)
    assert "lower learning_rate" in str(caught.value)
    monkeypatch.undo()
    assert 1 == train(n_epochs=3).record["n_resumes"]


def test_full_gpu_memory_says_what_to_do(train, monkeypatch):
    """Out of memory comes back as one sentence: fewer crops a step."""

    def run_out(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop_module, "draw_batch", run_out)
    with pytest.raises(TrainingError, match="reduce batch_size"):
        train()


def test_train_model_takes_cellpose_sam_only_with_its_own_crops(prepared, tmp_path, monkeypatch):
    """Crops that the architecture cannot take are refused before training."""
    save_small_cpsam(tmp_path / "cpsam_small", monkeypatch)
    folder, table = prepared

    with pytest.raises(TrainingError, match="crop_px must be 256"):
        train_model(
            tmp_path / "run",
            table,
            folder,
            ids(table, "train"),
            [],
            Recipe(model=str(tmp_path / "cpsam_small")),
            TrainingSettings(crop_px=128),
            device="cpu",
        )
