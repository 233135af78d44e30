"""What the task of a shard does about workers that die, or whose time is over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from somaflow.engine import Profile
from somaflow.errors import InferenceError, WorkerLimitError
from somaflow.paths import RunPaths
from tasks.inference import (
    Pace,
    ShardDone,
    Work,
    _commit,
    _find_deadly_tiles,
    _infer,
    _Stopped,
    _try,
)
from tasks.workers import WorkersDied
from tests.tasks.plans import plan_work

DONE = ShardDone(n_tiles=4, n_cells=9, n_quarantined=0, seconds=3.0, worker="w", profile=Profile())


class FakeWorkers:
    """Answers what it is told to, and notes what it was asked."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []
        self.retired: list[str] = []

    def compute(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.asked.append(arguments)
        return self.answer(function, *arguments)

    def retire(self, address: str) -> None:
        self.retired.append(address)

    def log_of(self, worker: str) -> str:
        return ""


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """An inference of four tiles in one shard."""
    return plan_work(tmp_path, n_tiles=4, shard_tiles=4)


def test_worker_without_time_is_let_go_and_another_does_the_shard(work: Work) -> None:
    """A worker that stops early costs nothing but a second try elsewhere."""
    answers = iter([_Stopped("tcp://a", 3600, 0.0), _Stopped("tcp://b", 3600, 0.0), DONE])
    workers, pace = FakeWorkers(lambda *_: next(answers)), Pace()
    assert DONE == _commit(work, 0, workers, pace, {})
    assert ["tcp://a", "tcp://b"] == workers.retired
    assert 3.0 == pace.slowest_s


def test_workers_are_told_how_long_the_slowest_shard_took(work: Work) -> None:
    """Nothing is started that cannot finish: a worker needs half as much again."""
    workers, pace = FakeWorkers(lambda *_: DONE), Pace()
    for _ in range(2):
        _commit(work, 0, workers, pace, {})
    assert [0.0, 4.5] == [arguments[-1] for arguments in workers.asked]


def test_shard_longer_than_a_workers_life_is_named(work: Work) -> None:
    """Stopped three times in the middle, a shard is not tried for ever."""
    workers = FakeWorkers(lambda *_: _Stopped("tcp://a", 3300, 3000.0))
    with pytest.raises(WorkerLimitError, match=r"a worker's life of 3300 s.*raise walltime"):
        _commit(work, 0, workers, Pace(), {})
    assert 3 == len(workers.asked)


def test_only_the_tile_that_kills_is_set_aside(work: Work) -> None:
    """Tiles are tried one by one; the one whose worker dies has a reason, the others none."""
    tried: list[str] = []

    def answer(function: Callable[..., Any], _: Work, tile_id: str) -> None:
        assert function is _try
        tried.append(tile_id)
        if len(tried) == 3:
            raise WorkersDied("3 workers died")

    deadly = _find_deadly_tiles(work, 0, FakeWorkers(answer))
    assert [tried[2]] == list(deadly)
    assert "its worker died on it" in deadly[tried[2]]
    assert 4 == len(tried)


def test_shard_that_kills_although_no_tile_does_is_tried_again(work: Work) -> None:
    """It may have been chance, so it is an error that a retry can heal, and in words."""
    with pytest.raises(InferenceError, match="on none of the tiles alone") as caught:
        _find_deadly_tiles(work, 0, FakeWorkers(lambda *_: None))
    assert not isinstance(caught.value, WorkerLimitError)


class FakeWorker:
    """A Dask worker's name and address."""

    address, name = "tcp://here", "w-1"


@pytest.mark.parametrize(
    ("left", "lifetime", "needed", "is_done"),
    [(100, 3600, 40, True), (30, 3600, 40, False), (3000, 3600, 5000, True), (4, 3600, 0, False)],
)
def test_shard_starts_only_where_there_is_time_for_it(
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
    left: float,
    lifetime: float,
    needed: float,
    is_done: bool,
) -> None:
    """Enough time left: committed. Too little: left to another, with nothing written.

    A worker with most of its life before it tries even what took longer elsewhere.
    """
    monkeypatch.setattr("tasks.inference.time_left", lambda: (left, lifetime))
    monkeypatch.setattr("tasks.inference.get_worker", FakeWorker)
    done = _infer(work, 0, {}, needed)
    assert is_done == isinstance(done, ShardDone)
    assert is_done == RunPaths(work.output).record(work.key, 0).exists()


def test_worker_without_an_end_is_never_asked_for_time(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop's workers have no wall-time."""
    monkeypatch.setattr("tasks.inference.time_left", lambda: None)
    monkeypatch.setattr("tasks.inference.get_worker", FakeWorker)
    done = _infer(work, 0, {"nobody": "x"}, 1e9)
    assert isinstance(done, ShardDone)
    assert (4, "w-1") == (done.n_tiles, done.worker)
