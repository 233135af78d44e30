"""The health line, and the prediction of when a training ends."""

import pytest

from somaflow.training import Health
from somaflow.training.health import Pace, format_seconds

HEALTH = Health(
    epoch=3,
    n_epochs=100,
    step=210,
    n_steps=7200,
    loss=0.25,
    learning_rate=1e-5,
    val_f1_pooled=0.8125,
    weights_moved_fraction=0.985,
    device="cuda",
    seconds_per_step=0.125,
    predicted_left_s=7500.0,
    deadline_left_s=3600.0,
)


def test_health_line_says_everything():
    """Place, loss, learning rate, F1, weights, device, pace, time left and deadline."""
    assert (
        "epoch 3/100 step 210/7200, loss 0.2500, learning rate 1.00e-05, val F1 0.812, "
        "98.5 % of weights moved, cuda, 0.125 s a step, 2 h 05 min left, "
        "deadline in 1 h 00 min (will be missed)"
    ) == HEALTH.line()


def test_health_line_without_val_and_deadline_says_so():
    """What is not known is not made up."""
    fields = HEALTH.__dict__ | {"val_f1_pooled": None, "deadline_left_s": None}
    health = Health(**fields)

    assert "val F1 not scored" in health.line()
    assert "deadline" not in health.line()
    assert not health.will_miss_deadline


def test_reports_come_from_every_epoch(train):
    """Steps count over the whole training; the last report is at its end, with nothing left."""
    reports = []

    train(n_epochs=3, arguments={"report": reports.append})

    ends = [health for health in reports if health.step % 2 == 0]
    assert [2, 4, 6] == sorted({health.step for health in ends})
    last = reports[-1]
    assert (3, 3, 6, 6) == (last.epoch, last.n_epochs, last.step, last.n_steps)
    assert 0 == last.predicted_left_s
    assert last.val_f1_pooled is not None
    assert 0.9 < last.weights_moved_fraction <= 1
    assert last.seconds_per_step > 0


def test_prediction_counts_steps_scorings_and_saves():
    """Time left = steps, scorings, and a save an interval, each as long as it was measured."""
    pace = Pace(checkpoint_every_s=10.0, state_bytes=1e6, scoring_s=5.0)
    for seconds in (9.0, 0.5, 0.5, 0.5, 0.5, 0.5):  # the first step also warms up
        pace.add_step(seconds)
    pace.add_save(2.0)

    assert pace.is_known
    assert 0.5 == pace.step_s
    assert 100 * 0.5 + 10 * 5 + 10 * 2 == pace.predict_s(n_steps=100, n_scorings=10)


def test_prediction_is_not_trusted_before_a_few_steps():
    """One step that also warms up says nothing about the others."""
    pace = Pace(checkpoint_every_s=10.0, state_bytes=1e6)
    pace.add_step(9.0)
    assert not pace.is_known

    pace.started -= 61  # but after a minute what there is must do
    assert pace.is_known
    assert 9.0 == pace.step_s


def test_time_needed_before_a_deadline_grows_with_the_slowest_step_and_save():
    """Twice the slowest step and save are kept free, and a guess before the first save."""
    pace = Pace(checkpoint_every_s=10.0, state_bytes=500e6)
    assert pace.needed_s() >= 2 * 500e6 / 50e6

    for seconds in (1.0, 3.0, 0.5):
        pace.add_step(seconds)
    pace.add_save(4.0)
    pace.add_save(2.0)

    assert 2 * (3 + 4) == pace.needed_s()
    assert 2 * (10 + 4) == pace.needed_s(10.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (1.46, "1.5 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_read_in_words(seconds, words):
    """Short ones to the tenth, long ones to the minute."""
    assert words == format_seconds(seconds)
