"""The learning rate of every step, known before the first one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somaflow.recipes import TrainingSettings

CELLPOSE_SAM_LEARNING_RATE = 1e-5
TINY_LEARNING_RATE = 0.002
_CELLPOSE_WARM_UP_EPOCHS = 10
_CELLPOSE_HALVINGS = 10


@dataclass(frozen=True)
class Schedule:
    """How many steps a training has, and the learning rate of each."""

    n_epochs: int
    steps_per_epoch: int
    peak: float
    """Highest learning rate."""
    rate: Callable[[int, int], float]
    """Learning rate by epoch and step within the epoch, both from 0."""

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.n_epochs * self.steps_per_epoch


def make_schedule(settings: TrainingSettings, n_images: int, default_peak: float) -> Schedule:
    """The schedule of a training.

    Args:
        settings: epochs, batch size, learning rate and kind of schedule.
        n_images: images drawn an epoch.
        default_peak: highest learning rate where the settings name none.
    """
    peak = settings.learning_rate if settings.learning_rate is not None else default_peak
    steps_per_epoch = math.ceil(n_images / settings.batch_size)
    if settings.schedule == "cellpose":
        rates = cellpose_rates(settings.n_epochs, peak)
        return Schedule(settings.n_epochs, steps_per_epoch, peak, lambda epoch, _: rates[epoch])
    n_steps = settings.n_epochs * steps_per_epoch
    n_warm_up = round(settings.warm_up_fraction * n_steps)

    def rate(epoch: int, step: int) -> float:
        return cosine_rate(epoch * steps_per_epoch + step, n_steps, n_warm_up, peak)

    return Schedule(settings.n_epochs, steps_per_epoch, peak, rate)


def cosine_rate(step: int, n_steps: int, n_warm_up: int, peak: float) -> float:
    """Learning rate of one step: up in a straight line, then half a cosine towards 0.

    No step has rate 0, since such a step would be computed for nothing.

    Args:
        step: from 0, over the whole training.
        n_steps: of the whole training.
        n_warm_up: steps in which the rate rises; the last of them has the peak.
        peak: highest learning rate.
    """
    if step < n_warm_up:
        return peak * (step + 1) / n_warm_up
    decay = (step - n_warm_up) / (n_steps - n_warm_up)
    return peak * (1 + math.cos(math.pi * decay)) / 2


def cellpose_rates(n_epochs: int, peak: float) -> list[float]:
    """Learning rate of each epoch as train_seg has it (cellpose 4.2.1.1, train.py).

    It rises from 0 over ten epochs whatever the length, so a training of six epochs never reaches
    the peak; from 100 epochs on, the last 50 (above 300: the last 100) are halved ten times.
    """
    rates: NDArray[np.float64] = np.concatenate(
        [
            np.linspace(0, peak, _CELLPOSE_WARM_UP_EPOCHS),
            np.full(max(0, n_epochs - _CELLPOSE_WARM_UP_EPOCHS), peak),
        ]
    )
    if n_epochs > 99:
        n_each = 10 if n_epochs > 300 else 5
        halved = peak * 0.5 ** np.arange(1, _CELLPOSE_HALVINGS + 1)
        rates = np.append(rates[: -n_each * _CELLPOSE_HALVINGS], np.repeat(halved, n_each))
    return [float(rate) for rate in rates[:n_epochs]]
