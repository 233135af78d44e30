"""What an epoch draws: images, and crops of them."""

from types import SimpleNamespace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from somaflow.recipes import TrainingSettings
from somaflow.training.crops import draw_batch, draw_order, seed_draws
from somaflow.training.examples import balance_markers, make_example
from tests.bench.labels import make_ellipses

CPU = torch.device("cpu")


def make_examples(markers):
    return [SimpleNamespace(marker=marker) for marker in markers]


def make_blobs(n_cells=6, side_px=80, seed=0):
    labels = make_ellipses(n_cells, (side_px, side_px), (4, 9), seed)
    image = np.random.default_rng(seed).random((2, side_px, side_px)).astype(np.float32)
    row = SimpleNamespace(tile_id="tile", marker="GFAP")
    return make_example(row, image, labels, TrainingSettings())


@given(st.lists(st.sampled_from(["GFAP", "NeuN", "OLIG2"]), min_size=1, max_size=30))
def test_balanced_markers_have_equal_shares(markers):
    """However many images a marker has, the shares of its images add up to the same."""
    shares = balance_markers(markers)

    sums = [shares[np.array(markers) == marker].sum() for marker in set(markers)]
    np.testing.assert_allclose(sums, 1 / len(set(markers)))


def test_balanced_sampling_draws_a_rare_marker_as_often():
    """One image of five is drawn half the time, also where an epoch has as many draws as images.

    Cellpose's train_seg ignores its probabilities in the latter case (4.2.1.1, train.py).
    """
    examples = make_examples(["GFAP"] * 4 + ["OLIG2"])
    settings = TrainingSettings(sampling="balanced")

    drawn = [draw_order(seed_draws(1, epoch), examples, settings) for epoch in range(400)]

    assert {5} == {len(order) for order in drawn}
    assert 0.45 < np.mean(np.array(drawn) == 4) < 0.55


def test_uniform_sampling_takes_every_image_once():
    """Without a number of images an epoch is a permutation."""
    order = draw_order(seed_draws(0, 3), make_examples(["GFAP"] * 7), TrainingSettings())

    assert list(range(7)) == sorted(order)


def test_epoch_has_as_many_images_as_asked_for():
    """More or fewer than there are, drawn with replacement."""
    settings = TrainingSettings(images_per_epoch=9)

    assert 9 == len(draw_order(seed_draws(0, 0), make_examples(["GFAP"] * 4), settings))


def test_seeds_and_epochs_draw_different_crops():
    """Order and augmentation differ between epochs, and between seeds in the same epoch."""
    examples, settings = [make_blobs()], TrainingSettings(crop_px=64)

    images = [
        draw_batch(seed_draws(seed, epoch), examples, settings, 30.0, CPU)[0]
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    ]

    assert 5 == len({image.numpy().tobytes() for image in images})


def test_crops_leave_the_example_as_it_is():
    """Flipping and turning work on copies: the next epoch sees the same image."""
    example = make_blobs()
    before = example.planes.clone()

    for epoch in range(8):
        draw_batch(seed_draws(0, epoch), [example], TrainingSettings(crop_px=64), 30.0, CPU)

    assert torch.equal(before, example.planes)


def test_flows_of_a_crop_point_into_its_cells():
    """After turning, flipping and resizing a step along the flow still leads to the centre."""
    labels = np.zeros((81, 81), np.int32)
    labels[24:57, 24:57] = 1
    row = SimpleNamespace(tile_id="tile", marker="GFAP")
    example = make_example(row, np.zeros((2, 81, 81), np.float32), labels, TrainingSettings())
    for epoch in range(12):
        settings = TrainingSettings(crop_px=96, scale_range=0.3)
        [(cell, flow_y, flow_x)] = draw_batch(seed_draws(5, epoch), [example], settings, 30.0, CPU)[
            1
        ]
        y, x = np.nonzero(cell.numpy() > 0.99)
        to_centre = np.stack([y.mean() - y, x.mean() - x])
        flow = np.stack([flow_y.numpy()[y, x], flow_x.numpy()[y, x]])
        is_far = np.hypot(*to_centre) > 6

        assert is_far.sum() > 100
        assert ((to_centre * flow).sum(axis=0)[is_far] > 0).mean() > 0.99


def test_example_measures_its_cells():
    """Number and median diameter of the cells, the latter 5 px at least."""
    labels = np.zeros((64, 64), np.int32)
    labels[4:14, 4:14] = 3
    labels[30:40, 30:40] = 8
    row = SimpleNamespace(tile_id="tile", marker="GFAP")
    image = np.zeros((2, 64, 64), np.float32)

    example = make_example(row, image, labels, TrainingSettings())
    empty = make_example(row, image, np.zeros_like(labels), TrainingSettings())

    assert 2 == example.n_cells
    np.testing.assert_allclose(2 * np.sqrt(100 / np.pi), example.diameter_px)
    assert (0, 5.0) == (empty.n_cells, empty.diameter_px)
    assert {0, 3, 8} == set(np.unique(labels))


def test_marker_example_has_no_dapi():
    """With channels = marker the first plane is 0 and the second what it was."""
    labels = make_ellipses(4, (64, 64), (4, 9))
    image = np.random.default_rng(0).random((2, 64, 64)).astype(np.float32)
    row = SimpleNamespace(tile_id="tile", marker="GFAP")

    both, marker = (
        make_example(row, image, labels, TrainingSettings(channels=kind))
        for kind in ("both", "marker")
    )

    assert both.planes[0].any()
    assert not marker.planes[0].any()
    assert torch.equal(both.planes[1:], marker.planes[1:])


def test_noise_is_added_to_channels_that_show_something():
    """Noise changes the image by its deviation at most, and leaves an empty channel and flows."""
    example = make_blobs()
    example.planes[1] = 0
    quiet = TrainingSettings(crop_px=64)
    noisy = TrainingSettings(crop_px=64, noise_range=0.5)

    before, targets_before = draw_batch(seed_draws(2, 0), [example], quiet, 30.0, CPU)
    after, targets_after = draw_batch(seed_draws(2, 0), [example], noisy, 30.0, CPU)

    added = (after - before)[0]
    assert 0 < float(added[0].std()) < 0.6
    assert not added[1:].any()
    assert torch.equal(targets_before, targets_after)
