"""Worker processes around one net: Cellpose's labels, in order, whatever dies or fails."""

import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import psutil
import pytest

from somaflow.engine import Engine, Job, SerialEngine
from somaflow.engine import engine as engine_module
from somaflow.errors import DeviceError, InferenceError, ModelError
from somaflow.labelstore import decode_labels
from somaflow.recipes import Gate, Recipe
from somaflow.segmenter import limit_threads, load_segmenter
from somaflow.segmenter.pooled import PooledNet
from tests.conftest import REPOSITORY
from tests.engine.tiles import draw_tiles, evaluate
from tests.rows import write_tile
from tests.small_sam import save_small_cpsam

pytestmark = pytest.mark.slow
TILES = draw_tiles()
LIMIT_S = 60


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Rows of all kinds of tiles, by kind."""
    folder = tmp_path_factory.mktemp("tiles")
    return {
        kind: write_tile(folder, f"tile{number}", tile)
        for number, (kind, tile) in enumerate(TILES.items())
    }


@pytest.fixture(scope="module")
def tiny():
    limit_threads(1)  # as workers have it: with another number products are summed otherwise
    return load_segmenter("tiny", device="cpu")


@pytest.fixture(scope="module", params=["a net in each worker", "one net for all"])
def engine(request, tiny):
    """An engine of two workers of each kind."""
    nets = None if request.param == "a net in each worker" else lambda _: (net_of(tiny), "")
    with Engine(2, nets, batch_size=8) as engine:
        yield engine


@pytest.fixture
def shared(tiny):
    """A new engine with one net, which the test may hurt."""
    with Engine(2, lambda _: (net_of(tiny), ""), batch_size=8) as engine:
        yield engine


def net_of(segmenter):
    return segmenter.cellpose_model.net


def labels_of(done):
    return [decode_labels(tile.encoded, *tile_shape(tile)) for tile in done]


def tile_shape(done):
    return list(TILES.values())[int(done.record.tile_id.removeprefix("tile"))].shape[1:]


def put_hook(folder, monkeypatch, code):
    """Has every new worker run this code before it starts."""
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    guard = "import sys\nif 'somaflow.engine.worker' in sys.orig_argv:\n"
    (folder / "sitecustomize.py").write_text(guard + lines)
    paths = [str(folder), str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def wait_for(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_labels_equal_cellposes_eval(engine, rows, tiny):
    """Bit for bit on the CPU: odd sizes, empty, dense, out of domain, 8 and 16 bit and float."""
    done = list(engine.run(Job(row, Recipe()) for row in rows.values()))

    for (kind, tile), labels in zip(TILES.items(), labels_of(done), strict=True):
        expected = evaluate(tiny.cellpose_model, tile)
        np.testing.assert_array_equal(expected, labels, err_msg=kind)
    assert sum(labels.max() > 0 for labels in labels_of(done)) >= 6


def test_labels_equal_those_of_a_real_cellpose_sam(rows, tiny, tmp_path, monkeypatch):
    """The same of Cellpose's own CPSAM class, around an encoder small enough for a test."""
    checkpoint = save_small_cpsam(tmp_path / "small", monkeypatch, out_std=0.3)
    small = load_segmenter(checkpoint, device="cpu")
    thresholds = {"flow_threshold": 0, "min_size": 5}
    recipe = Recipe(model=str(checkpoint), flow_threshold=0, min_size_px=5)

    hook = "from tests.small_sam import build_small_sam\nimport segment_anything\n"
    hook += "segment_anything.sam_model_registry['vit_l'] = build_small_sam\n"
    put_hook(tmp_path, monkeypatch, hook)
    kinds = ["usual", "odd", "larger than a crop", "empty"]
    with Engine(2) as engine:
        done = list(engine.run(Job(rows[kind], recipe) for kind in kinds))
    for kind, labels in zip(kinds, labels_of(done), strict=True):
        expected = evaluate(small.cellpose_model, TILES[kind], **thresholds)
        np.testing.assert_array_equal(expected, labels, err_msg=kind)
    assert labels_of(done)[0].max() > 0


def test_every_engine_leaves_the_same(engine, rows, tiny):
    """Cells, counts and encoded labels are those of one tile after the other in one process."""
    recipe = Recipe(flow_threshold=0.6, gate=Gate(min_area_px=30))
    jobs = [Job(row, recipe) for row in rows.values()]
    expected = list(SerialEngine(lambda _: tiny).run(jobs))

    for one, other in zip(expected, engine.run(jobs), strict=True):
        assert (one.record, one.encoded) == (other.record, other.encoded)
        assert one.cells is not None
        assert one.cells.equals(other.cells)


def test_one_bad_tile_does_not_stop_the_rest(engine, rows):
    """It is set aside with its reason, in its place; the others are done."""
    missing = {**rows["usual"], "dapi_path": "/nowhere.tif"}
    nan = TILES["float"].copy()
    nan[0, 3, 4] = np.nan
    broken = write_tile(_folder_of(rows), "tile0", nan)
    jobs = [Job(row, Recipe()) for row in (rows["odd"], missing, broken, rows["dense"])]

    first, no_file, not_finite, last = engine.run(jobs)
    assert "no file /nowhere.tif" in no_file.record.quarantined
    assert "must be finite" in not_finite.record.quarantined
    assert not first.record.quarantined
    assert last.record.n_cells > 0
    write_tile(_folder_of(rows), "tile0", TILES["usual"])


def _folder_of(rows):
    return Path(rows["usual"]["dapi_path"]).parent


def test_jobs_are_taken_as_results_are(engine, rows):
    """A million tiles are not queued at once: memory does not grow with their number."""
    taken = []

    def ask():
        for number in range(10_000):
            taken.append(number)
            yield Job(rows["small"], Recipe())

    results = engine.run(ask())
    for _ in range(20):
        next(results)
    results.close()
    assert len(taken) < 60


def test_two_callers_share_the_workers(engine, rows):
    """Each gets its own results, in its own order."""
    kinds = [["usual", "empty", "odd"], ["noise", "8 bit", "small"]]
    got = {}

    def call(number):
        done = engine.run(Job(rows[kind], Recipe()) for kind in kinds[number])
        got[number] = [tile.record.tile_id for tile in done]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    expected = {n: [rows[kind]["tile_id"] for kind in kinds[n]] for n in range(2)}
    assert expected == got


def test_stages_add_up_to_a_tiles_time(engine, rows):
    """Each tile says where its time went, and no stage counts what runs inside it."""
    (done,) = engine.run([Job(rows["dense"], Recipe())])

    assert {"read", "normalise", "net", "check", "features", "write"} <= set(done.seconds)
    assert all(seconds >= 0 for seconds in done.seconds.values())


def test_worker_that_is_killed_is_replaced_and_its_tile_done(shared, rows):
    """Kill -9 in the middle: the same labels as if nothing had happened, and the others too."""
    jobs = [Job(row, Recipe()) for row in rows.values()]
    expected = [done.encoded for done in shared.run(jobs)]
    results = shared.run(jobs)
    first = next(results)
    victim = shared.pids()[0]
    os.kill(victim, signal.SIGKILL)

    assert expected == [first.encoded, *(done.encoded for done in results)]
    wait_for(lambda: len(shared.pids()) == 2)
    assert victim not in shared.pids()


def test_tile_that_kills_its_workers_is_set_aside(rows, tmp_path, monkeypatch):
    """Twice is enough; the rest of the tiles are done by new workers."""
    # As the kernel does to a process that takes too much memory.
    hook = (
        "import os\n"
        "from somaflow.engine import work\n"
        "read = work.read_tile\n"
        "def deadly(row, **options):\n"
        "    if row['tile_id'] == 'deadly':\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return read(row, **options)\n"
        "work.read_tile = deadly\n"
    )
    put_hook(tmp_path, monkeypatch, hook)
    deadly = {**rows["usual"], "tile_id": "deadly"}
    with Engine(2) as engine:
        jobs = [Job(row, Recipe()) for row in (rows["odd"], deadly, rows["dense"])]
        first, dead, last = engine.run(jobs)

    assert "died on it twice, the last time with exit code -9" in dead.record.quarantined
    assert first.record.n_cells > 0
    assert last.record.n_cells > 0


def test_no_process_is_left_when_an_engine_closes(tiny, rows):
    """Nor when it closes in the middle of its work."""
    engine = Engine(2, lambda _: (net_of(tiny), ""), batch_size=8)
    results = engine.run(Job(row, Recipe()) for row in rows.values())
    next(results)
    processes = [psutil.Process(pid) for pid in engine.pids()]
    results.close()
    engine.close()

    assert 2 == len(processes)
    assert [] == [process for process in processes if process.is_running()]


def test_worker_that_hangs_is_killed_at_the_end(tiny, rows, monkeypatch):
    """A disk that never answers holds nobody up for ever."""
    monkeypatch.setattr(engine_module, "_GRACE_S", 1.0)
    engine = Engine(1, lambda _: (net_of(tiny), ""))
    results = engine.run([Job(rows["usual"], Recipe())] * 2)
    next(results)
    os.kill(engine.pids()[0], signal.SIGSTOP)
    caught = []

    def wait():
        with pytest.raises((InferenceError, CancelledError)) as error:
            list(engine.run([Job(rows["usual"], Recipe())]))
        caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    engine.close()
    waiting.join(LIMIT_S)
    assert ([], 1) == (engine.pids(), len(caught))


@pytest.mark.parametrize("is_shared", [False, True])
def test_model_that_cannot_be_had_fails_the_run(rows, tiny, is_shared):
    """It is no tile's fault: nothing is set aside for it."""
    nets = (lambda recipe: (load_segmenter(recipe.model, "cpu"), "")) if is_shared else None
    with Engine(2, nets) as engine, pytest.raises(ModelError, match="no file"):
        list(engine.run([Job(rows["usual"], Recipe(model="/no/such.pt"))]))


def test_device_that_fails_fails_the_run(rows, tiny):
    """A GPU that is lost leaves its shard uncommitted, and no tile is set aside for it."""

    class Lost(type(net_of(tiny))):
        def forward(self, images):
            raise RuntimeError("CUDA error: unspecified launch failure")

    lost = Lost()
    with Engine(2, lambda _: (lost, "")) as engine, pytest.raises(DeviceError, match="unspecified"):
        list(engine.run([Job(rows["usual"], Recipe())]))


def test_pinned_memory_is_released_before_it_is_unmapped(rows, tiny, monkeypatch):
    """CUDA would take what is mapped there next for pinned, and every copy would fail.

    The GPU is pretended: a pin is refused, as CUDA does, where it overlaps one that was left.
    """
    pinned, history = {}, []

    def pin(memory):
        place = memory.ctypes.data, memory.nbytes
        assert not any(
            start < place[0] + place[1] and place[0] < start + size
            for start, size in pinned.items()
        )
        pinned[place[0]] = place[1]
        history.append(place)
        return True

    monkeypatch.setattr(engine_module, "pin_memory", pin)
    monkeypatch.setattr(
        engine_module, "unpin_memory", lambda memory: pinned.pop(memory.ctypes.data)
    )
    monkeypatch.setattr(PooledNet, "device", "cuda")
    with Engine(1, lambda _: (net_of(tiny), ""), batch_size=8) as engine:
        growing = [rows["small"], rows["usual"], rows["dense"]]
        list(engine.run([Job(row, Recipe()) for row in growing]))
        os.kill(engine.pids()[0], signal.SIGKILL)
        list(engine.run([Job(rows["usual"], Recipe())]))
        assert 1 == len(pinned)
    assert (4, {}) == (len(history), pinned)


def test_worker_that_cannot_start_fails_the_run(rows, monkeypatch):
    """No memory for another process: said at once, and no one waits for ever."""

    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(engine_module.subprocess, "Popen", refuse)
    with (
        Engine(2) as engine,
        pytest.raises(InferenceError, match=r"must start, it did not .*Cannot allocate memory"),
    ):
        list(engine.run([Job(rows["small"], Recipe())]))
