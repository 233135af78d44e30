"""A net shared by many tiles: the same result in any company, and one tile's failure its own."""

import threading
import time

import numpy as np
import pytest
import torch

from somaflow.errors import DeviceError
from somaflow.recipes import Recipe
from somaflow.segmenter import normalise_input
from somaflow.segmenter import pooled as segmenter_pooled
from somaflow.segmenter.candidates import Candidates
from somaflow.segmenter.dynamics import number_objects
from somaflow.segmenter.pooled import PooledNet, Request
from somaflow.synthetic.nuclei import draw_nuclei

SHAPES = [(120, 140), (300, 280), (64, 300), (16, 16), (257, 256)]
LIMIT_S = 120


class Answer:
    """A request and what came of it."""

    def __init__(self, tile, threshold=0.0):
        planes = np.ascontiguousarray(normalise_input(tile)[:2])
        found = np.full(planes.shape[1:], -1, np.int32)
        self._is_done = threading.Event()
        self.error = None
        self.request = Request(planes, found, threshold, self._take)

    def _take(self, error):
        assert not self._is_done.is_set()
        self.error = error
        self._is_done.set()

    def wait(self):
        assert self._is_done.wait(LIMIT_S)
        return self

    def bits(self):
        return self.wait().request.planes.tobytes(), self.request.found.tobytes()


@pytest.fixture(scope="module")
def tiles():
    rng = np.random.default_rng(2)
    return [draw_nuclei(rng, shape)[0] for shape in SHAPES]


def run(net, tiles, batch_size=8):
    with PooledNet(net, batch_size) as pooled:
        answers = [Answer(tile) for tile in tiles]
        for answer in answers:
            pooled.submit(answer.request)
        for answer in answers:
            answer.wait()
    return answers, pooled


class Faulty(torch.nn.Module):
    """A net that fails where `fails` says so of a batch."""

    def __init__(self, net, fails):
        super().__init__()
        self.net, self.fails = net, fails
        self.device, self.dtype = net.device, net.dtype

    def forward(self, images):
        error = self.fails(images)
        if error is not None:
            raise error
        return self.net(images)


def test_shared_net_gives_cellposes_labels(tiny, tiles):
    """On the CPU they are those of eval, bit for bit, whatever the shapes that are pooled."""
    answers, pooled = run(tiny.cellpose_model.net, tiles)

    for tile, answer in zip(tiles, answers, strict=True):
        found, flows = answer.request.found, answer.request.planes
        labels = Candidates(number_objects(found), flows).select(0.4, 15)
        np.testing.assert_array_equal(tiny.segment([tile], Recipe())[0], labels)
    assert len(tiles) == pooled.times.n_tiles


def test_result_does_not_depend_on_neighbours(tiny, tiles):
    """The same bits alone, in another order, and in other company."""
    net = tiny.cellpose_model.net
    expected = [answer.bits() for answer in run(net, tiles)[0]]

    assert expected == [run(net, [tile])[0][0].bits() for tile in tiles]
    turned, _ = run(net, tiles[::-1] * 2)
    assert expected[::-1] * 2 == [answer.bits() for answer in turned]


def test_two_tiles_are_finished_at_once_and_their_time_counts_once(tiny, tiles, monkeypatch):
    """Following flows waits for the device more than it works; no second counts double."""
    both_are_at_it = threading.Barrier(2, timeout=LIMIT_S)

    def find(flows, *_):
        both_are_at_it.wait()
        time.sleep(0.2)
        return torch.zeros(flows.shape[1:], dtype=torch.int32)

    monkeypatch.setattr(segmenter_pooled, "find_objects", find)
    started = time.perf_counter()
    answers, pooled = run(tiny.cellpose_model.net, tiles[:4])

    assert [None] * 4 == [answer.error for answer in answers]
    assert 0.4 <= pooled.times.objects_s <= time.perf_counter() - started
    assert 4 == pooled.times.n_tiles


def test_tile_without_room_beside_another_is_tried_again_alone(tiny, tiles, monkeypatch):
    """Two tiles at once may be one too many for a GPU's memory: none is lost for it."""
    both_are_at_it, inside, seen = threading.Barrier(2, timeout=LIMIT_S), [], []

    def find(flows, *_):
        inside.append(flows)
        try:
            if not seen:
                if both_are_at_it.wait() == 0:
                    seen.append("full")
                    raise torch.OutOfMemoryError("full")
                time.sleep(0.3)
            else:
                seen.append(len(inside))
            return torch.zeros(flows.shape[1:], dtype=torch.int32)
        finally:
            inside.pop()

    monkeypatch.setattr(segmenter_pooled, "find_objects", find)
    answers, _ = run(tiny.cellpose_model.net, tiles[:2])
    assert [None] * 2 == [answer.error for answer in answers]
    assert ["full", 1] == seen


def test_every_batch_has_the_same_size(tiny, tiles):
    """A last batch is filled up: nets may round otherwise at another size."""
    sizes = set()
    run(Faulty(tiny.cellpose_model.net, lambda images: sizes.add(len(images))), tiles)

    assert {8} == sizes


def test_out_of_memory_halves_the_batch_and_goes_on(tiny, tiles):
    """Every tile is done, and the note says what happened."""

    def fails(images):
        return torch.OutOfMemoryError("no room for it\nmore") if len(images) > 2 else None

    answers, pooled = run(Faulty(tiny.cellpose_model.net, fails), tiles)

    assert [None] * len(tiles) == [answer.error for answer in answers]
    assert 2 == pooled.batch_size
    assert ["8 crops", "4 crops"] == [note[19:26] for note in pooled.times.notes]


def test_device_without_room_for_one_crop_says_so(tiny, tiles):
    """Nothing to halve any more: an error of the device, for every tile, and no endless loop."""
    net = Faulty(tiny.cellpose_model.net, lambda images: torch.OutOfMemoryError("no room"))
    answers, _ = run(net, tiles)

    assert {DeviceError} == {type(answer.error) for answer in answers}


def test_net_that_fails_is_the_devices_fault(tiny, tiles):
    """A CUDA error must not set tiles aside as if they were bad."""
    net = Faulty(tiny.cellpose_model.net, lambda images: RuntimeError("CUDA error: misaligned"))
    answers, _ = run(net, tiles[:2])

    assert all("CUDA error: misaligned" in str(answer.error) for answer in answers)
    assert {DeviceError} == {type(answer.error) for answer in answers}


def test_tile_that_fails_leaves_the_others_alone(tiny, tiles):
    """One request is broken: its owner is told, the others get their labels."""
    answers = [Answer(tile) for tile in tiles[:3]]
    broken = Request(np.zeros((2, 5), np.float32), answers[1].request.found, 0.0, answers[1]._take)
    with PooledNet(tiny.cellpose_model.net, 8) as pooled:
        for request in (answers[0].request, broken, answers[2].request):
            pooled.submit(request)
    assert [False, True, False] == [answer.wait().error is not None for answer in answers]


def test_close_finishes_what_was_submitted(tiny, tiles):
    """Nobody waits for ever for a tile that was taken."""
    pooled = PooledNet(tiny.cellpose_model.net, 8)
    answers = [Answer(tile) for tile in tiles]
    for answer in answers:
        pooled.submit(answer.request)
    pooled.close()

    assert [None] * len(tiles) == [answer.wait().error for answer in answers]


def test_device_that_is_lost_leaves_nobody_waiting(tiny, tiles, monkeypatch):
    """It fails between two batches: who waits is told, and so is whoever asks later."""

    def lose(_):
        raise RuntimeError("CUDA error: the device was lost")

    monkeypatch.setattr(PooledNet, "_await_batch", lose)
    with PooledNet(tiny.cellpose_model.net, 1) as pooled:
        first = Answer(tiles[1])
        pooled.submit(first.request)
        assert isinstance(first.wait().error, DeviceError)
        later = Answer(tiles[0])
        pooled.submit(later.request)
        assert "the device was lost" in str(later.wait().error)
