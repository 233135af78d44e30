"""A worker with several processes begins the next shard while one is at its last tiles."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event

import pytest
from distributed import Client, LocalCluster

from somaflow.engine import Job, SerialEngine, TileDone
from somaflow.paths import RunPaths
from somaflow.segmenter import load_for
from tasks import inference
from tasks.inference import ShardDone, Work, _infer, _Stopped
from tests.tasks.plans import plan_work

N_SHARDS = 3


class GatedEngine(SerialEngine):
    """Of two workers, as it says; does a tile once its gate is open."""

    def __init__(self) -> None:
        super().__init__(lambda recipe: load_for(recipe, "cpu"))
        self.gates: dict[str, Event] = {}
        self.begun: list[str] = []

    @property
    def n_workers(self) -> int:
        return 2

    def run(self, jobs: Iterable[Job]) -> Iterator[TileDone]:
        asked = list(jobs)
        self.begun += [job.row["tile_id"] for job in asked]
        for job in asked:
            assert self.gates[job.row["tile_id"]].wait(60)
            yield from super().run([job])


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Three shards of two tiles."""
    return plan_work(tmp_path, n_tiles=2 * N_SHARDS, shard_tiles=2)


@pytest.fixture
def engine(work: Work, monkeypatch: pytest.MonkeyPatch) -> GatedEngine:
    engine = GatedEngine()
    engine.gates = {tile_id: Event() for shard in tile_ids(work) for tile_id in shard}
    monkeypatch.setattr(inference, "worker_engine", lambda recipe, device: engine)
    monkeypatch.setattr(inference, "time_left", lambda: None)
    return engine


@pytest.fixture
def client() -> Iterator[Client]:
    """One worker of one thread, in this process."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def tile_ids(work: Work) -> list[list[str]]:
    """Of each shard."""
    plan = inference.read_plan(RunPaths(work.output), work.key)
    return [plan.tile_id[plan.shard == shard].tolist() for shard in range(N_SHARDS)]


def await_that(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_next_shard_begins_while_one_ends_but_not_the_one_after_it(
    work: Work, engine: GatedEngine, client: Client
) -> None:
    """The processes have work at the end of a shard, and no third one waits in memory."""
    first, second, third = tile_ids(work)
    futures = [client.submit(_infer, work, shard, {}, 0.0, pure=False) for shard in range(N_SHARDS)]
    await_that(lambda: engine.begun == first)
    engine.gates[first[0]].set()
    await_that(lambda: engine.begun == first + second)
    assert not RunPaths(work.output).record(work.key, 0).exists()

    engine.gates[second[0]].set()
    time.sleep(0.5)
    assert third[0] not in engine.begun

    engine.gates[first[1]].set()
    assert isinstance(futures[0].result(), ShardDone)
    for gate in engine.gates.values():
        gate.set()
    assert [2, 2, 2] == [future.result().n_tiles for future in futures]
    assert all(RunPaths(work.output).record(work.key, shard).exists() for shard in range(N_SHARDS))


def test_worker_is_let_go_after_the_shard_that_ends(
    work: Work, engine: GatedEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard for which its time is too short says so once the other one is written."""
    first, *_ = tile_ids(work)
    ending = client.submit(_infer, work, 0, {}, 0.0, pure=False)
    engine.gates[first[0]].set()
    await_that(inference._ENDING.locked)
    monkeypatch.setattr(inference, "time_left", lambda: (1.0, 3600.0))
    stopped = client.submit(_infer, work, 1, {}, 0.0, pure=False)
    time.sleep(0.5)
    assert not stopped.done()

    engine.gates[first[1]].set()
    assert isinstance(stopped.result(), _Stopped)
    assert isinstance(ending.result(), ShardDone)


def test_failure_of_a_shard_makes_room_again(
    work: Work, engine: GatedEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full at the end of one shard keeps none of the next from ending."""

    def fail(*_: object) -> None:
        raise OSError("no space left")

    for gate in engine.gates.values():
        gate.set()
    monkeypatch.setattr("somaflow.inference.write_record", fail)
    with pytest.raises(OSError, match="no space left"):
        client.submit(_infer, work, 0, {}, 0.0, pure=False).result()
    assert not inference._ENDING.locked()
