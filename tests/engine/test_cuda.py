"""The engine on a GPU: Cellpose's cells, the same bits each time, and no room to spare."""

import numpy as np
import pytest
import torch

from somaflow.engine import Engine, Job
from somaflow.engine.slots import Slot
from somaflow.recipes import Recipe
from somaflow.segmenter import load_net, load_segmenter, make_fast
from somaflow.segmenter.device import pin_memory, unpin_memory
from somaflow.synthetic.nuclei import draw_nuclei
from tests.engine.tiles import draw_tiles, evaluate
from tests.rows import average_precision, write_tile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LEAST_AP = 0.999


@pytest.fixture(scope="module")
def tiles():
    """What every engine must take, and some of full size."""
    rng = np.random.default_rng(4)
    large = {f"full size {number}": draw_nuclei(rng, (1040, 1388))[0] for number in range(3)}
    return [*draw_tiles().values(), *large.values()]


@pytest.fixture(scope="module")
def rows(tiles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    return [write_tile(folder, str(number), tile) for number, tile in enumerate(tiles)]


def make_engine(batch_size=16):
    def load(recipe):
        return make_fast(load_net(recipe.model, "cuda")[0])

    return Engine(4, load, batch_size)


def run(engine, rows):
    return [done.encoded for done in engine.run(Job(row, Recipe()) for row in rows)]


@pytest.fixture(scope="module")
def references(tiles):
    model = load_segmenter("tiny", device="cuda").cellpose_model
    return [evaluate(model, tile) for tile in tiles]


def test_cells_are_those_of_eval_on_the_same_gpu(tiles, rows, references):
    """Odd, empty, dense and full-size tiles; rounding differs, cells do not."""
    with make_engine() as engine:
        encoded = run(engine, rows)
        assert "cuda" == engine.prepare(Recipe())

    assert average_precision(references, encoded, rows) > LEAST_AP


def test_bits_do_not_depend_on_the_company(rows):
    """A tile comes out the same alone, in another order, and in another run."""
    with make_engine() as engine:
        expected = run(engine, rows)
        assert expected == run(engine, rows)
        assert expected[::-1] == run(engine, rows[::-1])
        assert expected[-1:] == run(engine, rows[-1:])


def test_gpu_with_little_memory_is_used_with_smaller_batches(rows, references):
    """The batch is halved until it fits, the log says so, and every tile is done."""
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(600 * 2**20 / total)
    try:
        with make_engine(batch_size=512) as engine:
            encoded = run(engine, rows)
            notes = engine.notes()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert any("512 crops a batch" in note for note in notes)
    assert average_precision(references, encoded, rows) > LEAST_AP


def test_slots_are_pinned():
    """Copies from a slot need no detour through pageable memory; afterwards it is free again."""
    slot = Slot()
    views = slot.open(64, 64)
    assert pin_memory(slot.whole())
    assert torch.from_numpy(views.planes).is_pinned()
    unpin_memory(slot.whole())
    assert not torch.from_numpy(views.planes).is_pinned()
