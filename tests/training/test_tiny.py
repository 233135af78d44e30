"""What the training of the embedded model promises, and how good the shipped weights are."""

import math
import re
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from somaflow.errors import BadInputError
from somaflow.segmenter import limit_threads, load_segmenter, prepare_input
from somaflow.synthetic.nuclei import draw_nuclei
from somaflow.training import tiny as training
from somaflow.training.tiny import (
    TinySettings,
    draw_examples,
    encode_weights,
    learning_rate_at,
    make_batch,
    make_example,
    score_folder,
    score_nuclei,
    train_tiny,
)

SHORT = TinySettings(seed=3, n_images=8, n_epochs=24, batch_size=4, crop_px=96)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    limit_threads(1)


@pytest.fixture(scope="module")
def tiny():
    return load_segmenter("tiny", device="cpu")


@pytest.fixture(scope="module")
def short_training():
    return train_tiny(SHORT)


def pooled_f1(counts):
    totals = counts[["tp", "fp", "fn"]].sum()
    return 2 * totals.tp / (2 * totals.tp + totals.fp + totals.fn)


def test_training_lowers_the_loss(short_training):
    """Even a few steps bring the loss down."""
    losses = short_training.losses

    assert len(losses) == SHORT.n_epochs
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_training_repeats_bit_for_bit(short_training):
    """The same seed gives the same losses and the same weights file."""
    again = train_tiny(SHORT)

    assert short_training.losses == again.losses
    assert encode_weights(short_training.net) == encode_weights(again.net)


def test_training_depends_on_the_seed(short_training):
    """Another seed gives other weights."""
    other = train_tiny(TinySettings(seed=4, n_images=6, n_epochs=1, batch_size=3, crop_px=64))

    assert encode_weights(short_training.net) != encode_weights(other.net)


def test_training_leaves_global_generators_alone():
    """A notebook's own random numbers do not depend on a training in between."""
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.random(), torch.rand(1)
    np.random.seed(5)
    torch.manual_seed(5)

    train_tiny(TinySettings(n_images=2, n_epochs=1, batch_size=2, crop_px=32))

    assert expected == (np.random.random(), torch.rand(1))


def test_example_is_normalised_as_in_eval():
    """Training sees images exactly as Cellpose's eval shows them to the net."""
    from cellpose import transforms

    image, labels = draw_nuclei(np.random.default_rng(2), (80, 96))
    before = image.copy(), labels.copy()

    example = make_example(image, labels)

    channels_last = np.moveaxis(prepare_input(image), 0, -1).copy()
    expected = np.moveaxis(transforms.normalize_img(channels_last), -1, 0)
    np.testing.assert_array_equal(expected, example.image)
    np.testing.assert_array_equal(before[0], image)
    np.testing.assert_array_equal(before[1], labels)


def test_example_targets_are_cells_and_flows():
    """Targets are 1 in cells with unit flows towards their centres, and 0 elsewhere."""
    labels = np.zeros((40, 40), np.uint32)
    labels[10:31, 10:31] = 7
    image = np.zeros((2, 40, 40), np.float32)

    cell, flow_y, flow_x = make_example(image, labels).targets

    np.testing.assert_array_equal(labels > 0, cell > 0)
    np.testing.assert_allclose(np.hypot(flow_y, flow_x)[12, 12:28], 1, rtol=1e-4)
    assert flow_y[12, 20] > 0.9
    assert flow_x[20, 12] > 0.9
    assert not flow_y[labels == 0].any()


def test_batch_has_the_size_asked_for():
    """A batch is (B, 3, crop, crop) whatever the size of the images."""
    images, targets = make_batch(draw_examples(seed=0, n_images=3), TinySettings(crop_px=48))

    assert images.shape == targets.shape == (3, 3, 48, 48)


@pytest.mark.parametrize("channel", [0, 1])
def test_batch_blanks_only_the_channel_without_the_cells(channel):
    """A crop of a single channel keeps the one that shows the cells, whichever it is."""
    labels = np.zeros((64, 64), np.uint32)
    labels[20:44, 20:44] = 1
    image = np.random.default_rng(0).random((2, 64, 64))
    image[channel] += labels
    example = make_example(image, labels)

    images, _ = make_batch([example], TinySettings(crop_px=64, single_fraction=1.0))

    assert images[0, channel].any()
    assert not images[0, 1 - channel].any()


def test_learning_rate_warms_up_and_ends_at_zero():
    """The learning rate rises to the one asked for, within the training, and falls to 0."""
    settings = TinySettings(learning_rate=0.01, warm_up_fraction=0.2)
    rates = [learning_rate_at(progress, settings) for progress in np.linspace(0, 1, 101)]

    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) == 20
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert math.isclose(rates[-1], 0, abs_tol=1e-12)


def test_embedded_weights_find_synthetic_nuclei(tiny):
    """The shipped weights segment nuclei that no training saw."""
    assert pooled_f1(score_nuclei(tiny, n_images=20)) > 0.85


def test_embedded_weights_find_real_nuclei(tiny, shared_data):
    """The shipped weights segment real nuclei, though they never saw a real image."""
    counts = score_folder(tiny, shared_data / "real-dev")
    by_group = {str(group): pooled_f1(rows) for group, rows in counts.groupby("group")}

    assert by_group["dsb_nuc"] > 0.7


def test_folder_scores_are_counts_of_each_image(tiny, tmp_path):
    """A folder's counts hold each single-channel pair once; several channels are left out."""
    rng = np.random.default_rng(8)
    image, labels = draw_nuclei(rng, (128, 128))
    for name, pixels in {"lab_one": image[0], "lab_two": image}.items():
        tifffile.imwrite(tmp_path / f"{name}_img.tif", pixels)
        tifffile.imwrite(tmp_path / f"{name}_masks.tif", labels.astype(np.uint16))

    counts = score_folder(tiny, tmp_path)

    assert counts[["name", "group"]].to_numpy().tolist() == [["lab_one", "lab"]]
    assert (counts.tp + counts.fn).tolist() == [labels.max()]


def test_folder_without_pairs_is_refused(tiny, tmp_path):
    """An empty folder is an error, not a perfect score."""
    with pytest.raises(BadInputError, match="another folder"):
        score_folder(tiny, tmp_path)


def test_command_trains_and_evaluates(tmp_path, capsys, monkeypatch):
    """The command writes weights that load by the checksum it prints, and scores them."""
    monkeypatch.setattr(training, "_N_HELD_OUT", 2)
    path = tmp_path / "new.pt"

    training.main(["--output", str(path), "--epochs", "1", "--images", "4", "--seed", "1"])

    output = capsys.readouterr().out
    [sha256] = set(re.findall(r"\b[0-9a-f]{64}\b", output))
    assert load_segmenter(path, device="cpu", sha256=sha256).sha256 == sha256
    assert "synthetic nuclei" in output
    assert [entry.name for entry in tmp_path.iterdir()] == ["new.pt"]


def test_note_tells_the_settings_of_the_embedded_weights():
    """The note names the very settings that the command uses by default."""
    note = (files("somaflow") / "models" / "tiny.md").read_text()

    assert repr(TinySettings()) in " ".join(note.split())


def test_scores_of_an_empty_model_are_zero_not_missing(tmp_path):
    """An untrained net is scored too: every nucleus is missed or every find is false."""
    from somaflow.segmenter import build_tiny_net

    path = tmp_path / "untrained.pt"
    path.write_bytes(encode_weights(build_tiny_net()))

    counts = score_nuclei(load_segmenter(path, device="cpu"), n_images=2)

    assert isinstance(counts, pd.DataFrame)
    assert pooled_f1(counts) < 0.1
