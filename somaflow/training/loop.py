"""The training loop: epochs of steps on random crops, scored on val, saved and stopped in between.

Enters: a net, examples, val tiles and settings. Leaves: the net trained in place and a `Progress`
with its history and best weights. On a CPU, with one number of threads, the result does not depend
on how often the loop was killed and resumed, bit for bit, and with Cellpose's settings it is also
train_seg's. On CUDA the same path is taken, with the GPU's generator saved too; this is not proven,
and not to the bit, since some of torch's CUDA kernels add up in varying order.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from somaflow.errors import TrainingError, TrainingStopped
from somaflow.recipes import TrainingSettings
from somaflow.training.checkpoint import Progress, copy_weights, load_state, save_state
from somaflow.training.crops import draw_batch, draw_order, seed_draws
from somaflow.training.draws import TorchDraws, decode_draws, encode_draws
from somaflow.training.examples import Example
from somaflow.training.health import Health, Pace, warn_of_deadline
from somaflow.training.history import write_history
from somaflow.training.schedule import Schedule
from somaflow.training.stopping import StopAsked, Watch
from somaflow.training.validation import SCORES, Validation

if TYPE_CHECKING:
    import torch

_REPORT_EVERY_S = 60.0
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is trained, where to, and who is told."""

    folder: Path
    training: str
    """Digest of what is trained, and how."""
    settings: TrainingSettings
    schedule: Schedule
    device: str
    checkpoint_every_s: float
    watch: Watch
    report: Callable[[Health], None]


class Loop:
    """One training in this process, from its saved state if there is one."""

    def __init__(
        self, job: Job, net: Any, examples: Sequence[Example], validation: Validation
    ) -> None:
        """Takes over the net, with the weights to start from.

        Raises:
            TrainingError: if the folder holds the state of another training.
        """
        self._job = job
        self._net = net
        self._examples = examples
        self._validation = validation
        trained = [value for value in net.parameters() if value.requires_grad]
        self._start = [value.detach().cpu().clone() for value in trained]
        # train_seg writes it too; nothing reads it, but weights are to be equal.
        mean_px = np.array([example.diameter_px for example in examples]).mean()
        net.diam_labels.data = net.diam_labels.data.new_tensor([mean_px])
        self._optimizer = _make_optimizer(net, job)
        self._draws = TorchDraws(job.settings.seed, job.device)
        self._rng = np.random.RandomState()
        self.progress = self._open()
        n_bytes = sum(value.nbytes for value in net.state_dict().values())
        # The net, two moments of AdamW, and the best weights so far.
        self._pace = Pace(job.checkpoint_every_s, state_bytes=4.0 * n_bytes)
        self._last_tick = self._last_save = time.monotonic()
        self._last_report: float | None = None
        self._is_warned = False

    def run(self) -> Progress:
        """Trains to the end.

        Raises:
            TrainingStopped: if asked to, or shortly before the deadline; saved.
            TrainingError: if the loss is not finite or the GPU's memory too small.
        """
        write_history(self._job.folder, self.progress.history)
        self._pace.scoring_s = self._validation.estimate_s(self._net)
        while self.progress.epoch < self._job.settings.n_epochs:
            self._run_epoch()
        return self.progress

    def measure_moved(self) -> float:
        """Share of the trainable weights that differ from those the training started from."""
        trained = (value for value in self._net.parameters() if value.requires_grad)
        pairs = list(zip(self._start, trained, strict=True))
        n_moved = sum(int((start.to(now.device) != now).sum()) for start, now in pairs)
        return n_moved / sum(start.numel() for start in self._start)

    # --- an epoch ---------------------------------------------------------------------------------

    def _run_epoch(self) -> None:
        progress = self.progress
        if not progress.order:
            self._rng = seed_draws(self._job.settings.seed, progress.epoch)
            progress.order = draw_order(self._rng, self._examples, self._job.settings)
        self._net.train()
        while progress.step < self._job.schedule.steps_per_epoch:
            self._pause(self._pace.needed_s())
            self._take_step()
            self._report_if_due()
        self._pause(self._pace.needed_s(self._validation.slowest_tile_s))
        scores = self._score_if_due()
        self._end_epoch(scores)
        self._report()

    def _take_step(self) -> None:
        progress, settings = self.progress, self._job.settings
        start = time.monotonic()
        rate = self._job.schedule.rate(progress.epoch, progress.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        first = progress.step * settings.batch_size
        order = progress.order[first : first + settings.batch_size]
        chosen = [self._examples[index] for index in order]
        loss = self._optimise(chosen)
        if not math.isfinite(loss):
            raise TrainingError(self._describe_bad_loss(loss, rate, chosen))
        progress.loss_sum += loss * len(chosen)
        progress.step += 1
        self._pace.add_step(time.monotonic() - start)

    def _optimise(self, chosen: Sequence[Example]) -> float:
        """One step of the optimizer; returns the loss before it."""
        import torch
        from cellpose import train

        net, mean_diameter_px = self._net, self._net.diam_mean.item()
        try:
            images, targets = draw_batch(
                self._rng, chosen, self._job.settings, mean_diameter_px, net.device
            )
            with self._draws.swapped_in(), self._autocast():
                predicted = net(images)[0]
            loss = train._loss_fn_seg(targets, predicted.float(), net.device)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            return float(loss.item())
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"a step must fit the memory of the GPU, {len(chosen)} crops of "
                f"{self._job.settings.crop_px} px do not ({error}); reduce batch_size"
            ) from error

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._job.settings.precision == "fp32":
            return nullcontext()
        import torch

        return torch.autocast(device_type=self._job.device, dtype=torch.bfloat16)

    def _score_if_due(self) -> dict[str, float]:
        """Scores of val, or NaN where this epoch is not scored; stops in the middle if asked."""
        settings, number = self._job.settings, self.progress.epoch + 1
        is_due = number % settings.score_every == 0 or number == settings.n_epochs
        if not is_due or not self._validation.tiles:
            return dict.fromkeys(SCORES, math.nan)
        start = time.monotonic()
        try:
            scores = self._validation.score(self._net, self._leave_scoring_if_asked)
        except StopAsked as asked:
            self._stop(str(asked))
        self._pace.scoring_s = time.monotonic() - start
        return scores

    def _end_epoch(self, scores: dict[str, float]) -> None:
        """Adds the epoch to the history, keeps its weights if they are the best so far."""
        progress, f1 = self.progress, scores["val_f1_pooled"]
        number = progress.epoch + 1
        if not math.isnan(f1) and (progress.best_f1 is None or f1 > progress.best_f1):
            progress.best_epoch, progress.best_f1 = number, f1
            progress.best_weights = copy_weights(self._net)
        self._tick()
        row = {
            "epoch": number,
            "steps": progress.step,
            "loss": progress.loss_sum / len(progress.order),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            **scores,
            "weights_moved_fraction": self.measure_moved(),
            "seconds": progress.epoch_seconds,
        }
        progress.history.append(row)
        progress.epoch, progress.step, progress.order = number, 0, []
        progress.loss_sum = progress.epoch_seconds = 0.0
        write_history(self._job.folder, progress.history)

    # --- saving and stopping ----------------------------------------------------------------------

    def _open(self) -> Progress:
        job = self._job
        progress = load_state(job.folder, job.training, self._net, self._optimizer)
        is_new = progress is None
        progress = progress or Progress()
        if not is_new:
            progress.n_resumes += 1
            self._rng = decode_draws(progress.draws)
            self._draws.cpu = progress.torch_cpu
            if progress.torch_cuda is not None and job.device == "cuda":
                self._draws.cuda = progress.torch_cuda
            _LOGGER.info(
                "training in %s goes on after %d epochs and %d steps",
                job.folder,
                progress.epoch,
                progress.step,
            )
        if progress.devices and progress.devices[-1] != job.device:
            _LOGGER.warning(
                "training in %s began on %s and goes on on %s; its weights will not be those of "
                "an uninterrupted training",
                job.folder,
                progress.devices[-1],
                job.device,
            )
        if progress.devices[-1:] != [job.device]:
            progress.devices.append(job.device)
        return progress

    def _pause(self, needed_s: float) -> None:
        """Between two steps: saves if it is time to, stops if asked."""
        if reason := self._job.watch.find_reason(needed_s):
            self._stop(reason)
        if time.monotonic() - self._last_save >= self._job.checkpoint_every_s:
            self._save()

    def _leave_scoring_if_asked(self) -> None:
        needed_s = self._pace.needed_s(self._validation.slowest_tile_s)
        if reason := self._job.watch.find_reason(needed_s):
            raise StopAsked(reason)

    def _stop(self, reason: str) -> None:
        self._save()
        progress, job = self.progress, self._job
        raise TrainingStopped(
            f"training in {job.folder} stopped in good order after {progress.epoch} of "
            f"{job.settings.n_epochs} epochs and {progress.step} of "
            f"{job.schedule.steps_per_epoch} steps: {reason}; all of it is saved, run it again "
            "and it goes on from there"
        )

    def _save(self) -> None:
        self._tick()
        start = time.monotonic()
        progress = self.progress
        progress.draws = encode_draws(self._rng)
        progress.torch_cpu, progress.torch_cuda = self._draws.cpu, self._draws.cuda
        save_state(self._job.folder, self._job.training, self._net, self._optimizer, progress)
        self._last_save = time.monotonic()
        self._pace.add_save(self._last_save - start)

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._last_tick
        self.progress.epoch_seconds += now - self._last_tick
        self._last_tick = now

    # --- health -----------------------------------------------------------------------------------

    def _report_if_due(self) -> None:
        if self._last_report is None:
            is_due = self._pace.is_known
        else:
            is_due = time.monotonic() - self._last_report >= _REPORT_EVERY_S
        if is_due:
            self._report()

    def _report(self) -> None:
        health = self._measure_health()
        _LOGGER.info("training in %s: %s", self._job.folder, health.line())
        if self._pace.is_known and not self._is_warned and health.will_miss_deadline:
            self._is_warned = True
            warn_of_deadline(health, str(self._job.folder))
        if self._pace.is_known:
            self._last_report = time.monotonic()
        self._job.report(health)

    def _measure_health(self) -> Health:
        progress, schedule = self.progress, self._job.schedule
        is_between = progress.step == 0
        last = progress.history[-1] if progress.history else None
        step = progress.epoch * schedule.steps_per_epoch + progress.step
        n_seen = min(progress.step * self._job.settings.batch_size, len(progress.order))
        scored = [row["val_f1_pooled"] for row in progress.history]
        scored = [f1 for f1 in scored if not math.isnan(f1)]
        return Health(
            epoch=progress.epoch if is_between else progress.epoch + 1,
            n_epochs=schedule.n_epochs,
            step=step,
            n_steps=schedule.n_steps,
            loss=last["loss"] if is_between and last else progress.loss_sum / max(1, n_seen),
            learning_rate=self._optimizer.param_groups[0]["lr"],
            val_f1_pooled=scored[-1] if scored else None,
            weights_moved_fraction=(
                last["weights_moved_fraction"] if is_between and last else self.measure_moved()
            ),
            device=self._job.device,
            seconds_per_step=self._pace.step_s,
            predicted_left_s=self._pace.predict_s(schedule.n_steps - step, self._n_scorings_left()),
            deadline_left_s=self._job.watch.left_s,
        )

    def _n_scorings_left(self) -> int:
        settings, done = self._job.settings, self.progress.epoch
        n_left = settings.n_epochs // settings.score_every - done // settings.score_every
        return n_left + (settings.n_epochs % settings.score_every > 0 and done < settings.n_epochs)

    def _describe_bad_loss(self, loss: float, rate: float, chosen: Sequence[Example]) -> str:
        tiles = ", ".join(example.tile_id for example in chosen)
        return (
            f"the loss must be finite, got {loss} in epoch {self.progress.epoch + 1}, step "
            f"{self.progress.step + 1} at learning rate {rate:.2e} on {tiles}; the last saved "
            f"state is kept in {self._job.folder}; lower learning_rate, or look at these tiles"
        )


def _make_optimizer(net: Any, job: Job) -> "torch.optim.Optimizer":
    import torch

    return torch.optim.AdamW(
        net.parameters(), lr=job.schedule.peak, weight_decay=job.settings.weight_decay
    )
