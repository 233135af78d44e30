"""How a running training does: one line of figures, and when it will end."""

import logging
import math
import statistics
import time
from collections import deque
from dataclasses import dataclass, field

_LOGGER = logging.getLogger(__name__)
_FEW_STEPS = 5
_FIRST_MINUTE_S = 60.0
_STEPS_KEPT = 200
# Until a first save is timed: slower than any disk a training should be saved to.
_ASSUMED_SAVE_S = 1.0
_ASSUMED_SAVE_BYTES_PER_S = 50e6
# What is needed before a deadline is doubled, since the next step or save may be the slowest yet.
_SAFETY_FACTOR = 2.0


@dataclass(frozen=True)
class Health:
    """Figures of a running training at one moment."""

    epoch: int
    """The running epoch, from 1; just after an epoch, that epoch."""
    n_epochs: int
    step: int
    """Steps done, over all epochs."""
    n_steps: int
    """Steps of the whole training."""
    loss: float
    """Mean over the images of the epoch so far."""
    learning_rate: float
    val_f1_pooled: float | None
    """Of the last scoring of val; None before the first one and without val."""
    weights_moved_fraction: float
    """Share of the trainable weights that differ from those the training started from."""
    device: str
    seconds_per_step: float
    """Median of the last steps."""
    predicted_left_s: float
    """Until the end of the training, with scoring and saving."""
    deadline_left_s: float | None
    """Until the deadline; None without one."""

    @property
    def will_miss_deadline(self) -> bool:
        """Whether the training is predicted to end after its deadline."""
        return self.deadline_left_s is not None and self.predicted_left_s > self.deadline_left_s

    def line(self) -> str:
        """All figures in one line, for a log or a dashboard."""
        f1 = "not scored" if self.val_f1_pooled is None else f"{self.val_f1_pooled:.3f}"
        parts = [
            f"epoch {self.epoch}/{self.n_epochs} step {self.step}/{self.n_steps}",
            f"loss {self.loss:.4f}",
            f"learning rate {self.learning_rate:.2e}",
            f"val F1 {f1}",
            f"{100 * self.weights_moved_fraction:.1f} % of weights moved",
            f"{self.device}, {self.seconds_per_step:.3g} s a step",
            f"{format_seconds(self.predicted_left_s)} left",
        ]
        if self.deadline_left_s is not None:
            missed = " (will be missed)" if self.will_miss_deadline else ""
            parts.append(f"deadline in {format_seconds(self.deadline_left_s)}{missed}")
        return ", ".join(parts)


@dataclass
class Pace:
    """How long steps, scorings and saves take; what was measured, and what follows from it."""

    checkpoint_every_s: float
    state_bytes: float
    """Rough size of a saved state, for a guess before the first save."""
    scoring_s: float = 0.0
    """Seconds of one scoring of val; a guess until the first is done."""
    slowest_tile_s: float = 0.0
    """Of val."""
    started: float = field(default_factory=time.monotonic)
    _first_step_s: float | None = None
    _steps_s: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS_KEPT))
    _slowest_step_s: float = 0.0
    _slowest_save_s: float | None = None

    def add_step(self, seconds: float) -> None:
        """Notes one step; the first one only until there is a second, since it also warms up."""
        if self._first_step_s is None:
            self._first_step_s = seconds
        else:
            self._steps_s.append(seconds)
        self._slowest_step_s = max(self._slowest_step_s, seconds)

    def add_save(self, seconds: float) -> None:
        """Notes one save of the state."""
        self._slowest_save_s = max(self._slowest_save_s or 0.0, seconds)

    @property
    def is_known(self) -> bool:
        """Whether a few steps have been timed, or as many as there were in the first minute."""
        if len(self._steps_s) >= _FEW_STEPS:
            return True
        waited = time.monotonic() - self.started > _FIRST_MINUTE_S
        return waited and self._first_step_s is not None

    @property
    def step_s(self) -> float:
        """Seconds a step, the median; 0 before the first one."""
        return statistics.median(self._steps_s) if self._steps_s else self._first_step_s or 0.0

    @property
    def save_s(self) -> float:
        """Seconds of the slowest save, or a careful guess."""
        if self._slowest_save_s is not None:
            return self._slowest_save_s
        return _ASSUMED_SAVE_S + self.state_bytes / _ASSUMED_SAVE_BYTES_PER_S

    def predict_s(self, n_steps: int, n_scorings: int) -> float:
        """Seconds that so many steps and scorings will take, with the saves in between."""
        work_s = n_steps * self.step_s + n_scorings * self.scoring_s
        n_saves = float(n_steps)
        if self.checkpoint_every_s > 0:
            n_saves = min(n_saves, work_s / self.checkpoint_every_s)
        return work_s + n_saves * self.save_s

    def needed_s(self, next_s: float | None = None) -> float:
        """Seconds to keep free before a deadline: for one more step (or `next_s`) and a save."""
        next_s = self._slowest_step_s if next_s is None else next_s
        return _SAFETY_FACTOR * (next_s + self.save_s)


def warn_of_deadline(health: Health, place: str) -> None:
    """Logs a warning with the figures where a training is predicted to miss its deadline."""
    if health.deadline_left_s is None or not health.will_miss_deadline:
        return
    now = time.time()
    late_s = health.predicted_left_s - health.deadline_left_s
    _LOGGER.warning(
        "training in %s is predicted to end at %s, %s after its deadline %s (epoch %d of %d, "
        "%.3g s a step on %s); it will stop itself before, checkpointed, and a rerun goes on from "
        "there; for one run, ask for more time, a faster device, or lower n_epochs or "
        "images_per_epoch, or raise score_every",
        place,
        _clock(now + health.predicted_left_s),
        format_seconds(late_s),
        _clock(now + health.deadline_left_s),
        health.epoch,
        health.n_epochs,
        health.seconds_per_step,
        health.device,
    )


def format_seconds(seconds: float) -> str:
    """A duration in words, such as `2 h 05 min`, `3 min 20 s` or `1.5 s`."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    minutes = math.floor(seconds / 60)
    if minutes < 60:
        return f"{minutes} min {math.floor(seconds % 60):02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _clock(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_s))
