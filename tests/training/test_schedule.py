"""Learning rates: every step counts, whatever the length of the training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.recipes import TrainingSettings
from somaflow.training.schedule import cellpose_rates, make_schedule


def all_rates(schedule):
    return np.array(
        [
            schedule.rate(epoch, step)
            for epoch in range(schedule.n_epochs)
            for step in range(schedule.steps_per_epoch)
        ]
    )


@given(
    n_epochs=st.integers(1, 40),
    n_images=st.integers(1, 12),
    batch_size=st.integers(1, 5),
    warm_up_fraction=st.floats(0, 0.9),
)
def test_cosine_schedule_reaches_its_peak_and_falls(
    n_epochs, n_images, batch_size, warm_up_fraction
):
    """Even the shortest training reaches the learning rate asked for, and no step is wasted."""
    settings = TrainingSettings(
        n_epochs=n_epochs,
        batch_size=batch_size,
        warm_up_fraction=warm_up_fraction,
        learning_rate=0.01,
    )

    rates = all_rates(make_schedule(settings, n_images, 1.0))

    assert len(rates) == n_epochs * -(-n_images // batch_size)
    assert rates.min() > 0
    assert rates.max() == pytest.approx(0.01)
    peak = rates.argmax()
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()


def test_cosine_schedule_ends_near_zero():
    """A long training ends with steps so small that nothing moves any more."""
    settings = TrainingSettings(n_epochs=100, learning_rate=0.01)

    rates = all_rates(make_schedule(settings, 10, 1.0))

    assert rates[-1] < 1e-5 * 0.01
    assert 100 == rates.argmax() + 1  # a tenth of all steps


@pytest.mark.parametrize(
    ("n_epochs", "first", "last"), [(6, 0.0, 5 / 9), (50, 0.0, 1), (100, 0.0, 2.0**-10)]
)
def test_cellpose_schedule_depends_on_the_epoch_alone(n_epochs, first, last):
    """Ten epochs of warm-up from 0 whatever the length, and halvings at the end of long ones."""
    settings = TrainingSettings(n_epochs=n_epochs, schedule="cellpose", learning_rate=1.0)
    schedule = make_schedule(settings, 3, 1.0)

    rates = all_rates(schedule).reshape(n_epochs, 3)

    assert (rates == rates[:, :1]).all()
    assert first == rates[0, 0]
    assert rates[-1, 0] == pytest.approx(last)
    assert n_epochs == len(cellpose_rates(n_epochs, 1.0))


def test_learning_rate_that_is_not_given_is_the_net_s_own():
    """The default peak is used where the settings name none."""
    assert 0.002 == make_schedule(TrainingSettings(), 3, 0.002).peak
    assert 0.1 == make_schedule(TrainingSettings(learning_rate=0.1), 3, 0.002).peak
