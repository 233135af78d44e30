"""A training ends in good order when asked to or when time runs out, and warns early."""

import itertools
import logging
import pickle
import re
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from somaflow.errors import TrainingError, TrainingStopped
from somaflow.training import (
    StopRequest,
    is_trained,
    read_history,
    request_stop,
    stop_on_signals,
    stopping,
)
from somaflow.training.stopping import Watch, hold_folder, listen


def ask_after(n_reports, stop):
    """A report that asks for a stop when it has been called so often."""
    seen = []

    def report(health):
        seen.append(health)
        if len(seen) == n_reports:
            stop.ask("it was asked to")

    return report


def test_stopped_training_goes_on_to_the_same_bytes(train):
    """Stopped after one epoch, then after three: the third run ends as an undisturbed one."""
    expected = train("undisturbed", n_epochs=4)
    for n_reports in (1, 2):
        stop = StopRequest()
        arguments = {"stop": stop, "report": ask_after(n_reports, stop)}
        with pytest.raises(TrainingStopped, match="it was asked to"):
            train(n_epochs=4, arguments=arguments)

    actual = train(n_epochs=4)

    assert expected.path.read_bytes() == actual.path.read_bytes()
    assert expected.last_path.read_bytes() == actual.last_path.read_bytes()
    assert 2 == actual.record["n_resumes"]


def test_stopped_training_says_where_it_stands(train, tmp_path):
    """The message names the place, why, and that a rerun goes on; it crosses process borders."""
    stop = StopRequest()
    with pytest.raises(TrainingStopped) as caught:
        train(n_epochs=4, arguments={"stop": stop, "report": ask_after(1, stop)})

    message = str(caught.value)
    assert "after 1 of 4 epochs and 0 of 2 steps: it was asked to" in message
    assert "run it again" in message
    assert message == str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301
    assert (tmp_path / "run" / "state.pt").exists()


def test_stop_in_the_middle_of_scoring_loses_no_step(train, monkeypatch):
    """A request between two val tiles is heeded at once; the scoring is repeated later."""
    from somaflow.training import validation

    expected = train("undisturbed")
    stop, real = StopRequest(), validation._count

    def count(segmenter, tile):
        stop.ask("it was asked to")
        return real(segmenter, tile)

    monkeypatch.setattr(validation, "_count", count)
    with pytest.raises(TrainingStopped, match="after 0 of 2 epochs and 2 of 2 steps"):
        train(arguments={"stop": stop})
    monkeypatch.undo()

    assert expected.path.read_bytes() == train().path.read_bytes()


def test_request_stop_reaches_every_running_training():
    """All that listen are asked, those that are over are not; the first reason counts."""
    first, second, over = StopRequest(), StopRequest(), StopRequest()
    with listen(over):
        pass
    with listen(first), listen(second):
        first.ask("its own reason")
        assert 2 == request_stop("the worker ends")

    assert "its own reason" == first.reason
    assert "the worker ends" == second.reason
    assert over.reason is None
    assert 0 == request_stop("nobody is there")


def test_request_stop_ends_a_training_in_another_thread(train):
    """What a worker's main thread calls when it is told to end."""
    caught = []

    def run():
        try:
            train(n_epochs=10_000)
        except TrainingStopped as stopped:
            caught.append(str(stopped))

    thread = threading.Thread(target=run)
    thread.start()
    while not request_stop("the worker ends") and thread.is_alive():
        time.sleep(0.01)
    thread.join(60)

    assert not thread.is_alive()
    assert "the worker ends" in caught[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_ask_to_stop_and_former_handlers_come_back(number):
    """Inside the block a signal is a request, for this and for every other running training."""
    other = StopRequest()
    before = signal.getsignal(number)
    with listen(other), stop_on_signals() as stop:
        signal.raise_signal(number)

    assert f"the process was sent {number.name}" == stop.reason == other.reason
    assert before == signal.getsignal(number)


def test_signals_outside_the_main_thread_are_refused():
    """Python handles signals in the main thread alone; the error says what to call instead."""
    caught = []

    def run():
        try:
            with stop_on_signals():
                pass
        except TrainingError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert "request_stop" in caught[0]


def test_training_stops_itself_before_its_deadline(train, monkeypatch, tmp_path):
    """On a clock that moves on at every look it is over, checkpointed, while time is left."""
    clock = itertools.count()
    fake = SimpleNamespace(time=lambda: float(next(clock)), sleep=time.sleep)
    monkeypatch.setattr(stopping, "time", fake)

    with pytest.raises(TrainingStopped, match="s were left before its deadline"):
        train(n_epochs=100_000, arguments={"deadline": 100.0, "checkpoint_every_s": 1e9})

    assert 50 < next(clock) < 100
    assert (tmp_path / "run" / "state.pt").exists()


def test_training_past_its_deadline_takes_no_step(train, tmp_path):
    """Without time left nothing is trained, and nothing is broken."""
    with pytest.raises(TrainingStopped, match="before its first step"):
        train(arguments={"deadline": time.time() - 1})

    assert not is_trained(tmp_path / "run")
    assert read_history(tmp_path / "run").empty


def test_training_that_will_miss_its_deadline_says_so_early(train, caplog):
    """After a few steps a warning gives predicted end, deadline and what to do; only once."""
    stop = StopRequest()
    with caplog.at_level(logging.WARNING), pytest.raises(TrainingStopped):
        train(
            n_epochs=100_000,
            arguments={
                "deadline": time.time() + 120,
                "stop": stop,
                "report": ask_after(4, stop),
            },
        )

    [warning] = [text for text in caplog.messages if "predicted to end at" in text]
    assert 2 == len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", warning))
    assert "after its deadline" in warning
    assert "lower n_epochs" in warning
    assert int(re.search(r"epoch (\d+) of 100000", warning)[1]) <= 4


def test_training_that_will_meet_its_deadline_does_not_warn(train, caplog):
    """An hour is enough for two epochs."""
    reports = []
    with caplog.at_level(logging.WARNING):
        train(n_epochs=8, arguments={"deadline": time.time() + 3600, "report": reports.append})

    assert "predicted" not in caplog.text
    assert not any(health.will_miss_deadline for health in reports)


def test_watch_keeps_the_time_that_is_needed():
    """There is a reason to stop exactly when less time is left than what comes next needs."""
    watch = Watch(StopRequest(), time.time() + 100)

    assert watch.find_reason(needed_s=50) is None
    assert "before its deadline" in str(watch.find_reason(needed_s=150))
    assert Watch(StopRequest(), None).find_reason(needed_s=1e12) is None


def test_waiting_for_a_folder_can_be_given_up(tmp_path):
    """A process that waits for another one still heeds a stop."""

    def give_up():
        raise TrainingStopped("given up")

    with (
        hold_folder(tmp_path / "lock", give_up),
        pytest.raises(TrainingStopped, match="given up"),
        hold_folder(tmp_path / "lock", give_up),
    ):
        pass
    with hold_folder(tmp_path / "lock", give_up):
        assert (tmp_path / "lock").exists()
