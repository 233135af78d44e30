"""Fine-tuning of a net on labelled tiles, to be killed at any moment and gone on with.

Enters: a prepared folder, ids of train and val tiles, a base recipe and settings. Leaves a folder:
``best.pt`` and ``last.pt`` (weights), ``history.parquet`` (a row an epoch, also while it runs) and
``training.json`` (what it was), the latter written last; ``state.pt`` only until then. Refuses:
tiles that are in both train and val or not prepared, and a folder of another training.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from somaflow.errors import TrainingError, TrainingStopped
from somaflow.files import make_folder, sweep_temporaries
from somaflow.keys import content_key, library_versions, table_digest
from somaflow.recipes import Recipe, TrainingSettings
from somaflow.segmenter import Device, load_net, weights_sha256
from somaflow.training.checkpoint import Progress, copy_weights
from somaflow.training.examples import DroppedTile, Example, load_examples
from somaflow.training.health import Health
from somaflow.training.loop import Job, Loop
from somaflow.training.record import TrainedModel, find_training, write_training
from somaflow.training.schedule import (
    CELLPOSE_SAM_LEARNING_RATE,
    TINY_LEARNING_RATE,
    Schedule,
    make_schedule,
)
from somaflow.training.stopping import LOCK_NAME, StopRequest, Watch, hold_folder, listen
from somaflow.training.validation import Validation

CHECKPOINT_EVERY_S = 180.0
_CELLPOSE_SAM_CROP_PX = 256
_NAMES_SHOWN = 5
# Of a recipe, what does not shape how val is scored; how tiles are shown is in the settings.
_UNUSED_OF_BASE = {"name", "model", "model_sha256", "channels", "normalisation"}
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """What is asked for, checked."""

    folder: Path
    training: str
    """Digest of all below."""
    train_rows: pd.DataFrame
    val_rows: pd.DataFrame
    prepared_folder: Path
    base: Recipe
    base_sha256: str
    settings: TrainingSettings


def training_key(
    prepared_key: str,
    train_ids: Sequence[str],
    val_ids: Sequence[str],
    base: Recipe,
    base_sha256: str,
    settings: TrainingSettings,
) -> str:
    """Key of one training; the order of the ids does not matter.

    Args:
        prepared_key: of the prepared tiles, which covers their pixels and labels.
        train_ids: tiles that are trained on.
        val_ids: tiles that choose the best epoch.
        base: recipe whose thresholds score val.
        base_sha256: checksum of the weights that are started from.
        settings: how it is trained.
    """
    return content_key(
        "train", prepared=prepared_key, **_describe(train_ids, val_ids, base, base_sha256, settings)
    )


def train_model(
    folder: Path,
    prepared: pd.DataFrame,
    prepared_folder: Path,
    train_ids: Sequence[str],
    val_ids: Sequence[str],
    base: Recipe,
    settings: TrainingSettings,
    device: Device = "auto",
    deadline: float | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    report: Callable[[Health], None] = lambda health: None,
    stop: StopRequest | None = None,
) -> TrainedModel:
    """Trains, or goes on training, or returns what is trained already.

    However often it was killed, on a CPU and with one number of torch threads the weights are those
    of an uninterrupted training, bit for bit. Of two processes that train the same folder the
    second waits for the first. Random numbers and threads of the caller are left as they are.

    Args:
        folder: of this training alone; made if absent.
        prepared: the table of the prepared folder, a row a tile.
        prepared_folder: where its paths begin.
        train_ids: tiles to train on; their order does not matter.
        val_ids: tiles that choose the best epoch; without any it is the last one.
        base: its weights are started from, its thresholds and gate score val.
        settings: how to train.
        device: `cpu`, `cuda`, or `auto` = CUDA where it is usable. CUDA is not proven.
        deadline: unix time by which it must have stopped, checkpointed.
        checkpoint_every_s: at most so much work is lost to a kill, and one step.
        report: called with the health after each epoch, after the first few steps and every minute.
        stop: asks it to stop, from any thread; `request_stop` reaches it too.

    Raises:
        TrainingError: if ids or settings cannot be used, the folder is another training's, no
            image is left, the loss is not finite, or the GPU's memory is too small.
        TrainingStopped: if asked to, or near the deadline; the next call goes on.
        ModelError: if the base weights are not there or not those asked for.
        DeviceError: if the device is not usable.
        OutputError: if the folder cannot be written.
    """
    base_sha256 = base.model_sha256 or weights_sha256(base.model)
    train_rows, val_rows = _pick_rows(prepared, train_ids, val_ids)
    content = _describe(train_ids, val_ids, base, base_sha256, settings)
    tiles = table_digest(pd.concat([train_rows, val_rows]))
    plan = _Plan(
        folder=Path(folder),
        training=content_key("train", tiles=tiles, **content),
        train_rows=train_rows,
        val_rows=val_rows,
        prepared_folder=Path(prepared_folder),
        base=base,
        base_sha256=base_sha256,
        settings=settings,
    )
    if (trained := find_training(plan.folder, plan.training)) is not None:
        return trained
    make_folder(plan.folder)
    with listen(stop or StopRequest()) as request:
        watch = Watch(request, deadline)
        with hold_folder(plan.folder / LOCK_NAME, lambda: _refuse_if_asked(plan, watch)):
            # Another process may have finished it meanwhile.
            if (trained := find_training(plan.folder, plan.training)) is not None:
                return trained
            sweep_temporaries(plan.folder)
            return _train(plan, device, watch, checkpoint_every_s, report)


def _train(
    plan: _Plan,
    device: Device,
    watch: Watch,
    checkpoint_every_s: float,
    report: Callable[[Health], None],
) -> TrainedModel:
    settings = plan.settings
    net, _, used_device = load_net(plan.base.model, device, plan.base_sha256, precision="fp32")
    default_rate = _check_net(net, settings, used_device)
    examples, dropped = load_examples(
        plan.train_rows,
        plan.prepared_folder,
        settings,
        used_device,
        lambda: _refuse_if_asked(plan, watch),
    )
    validation = Validation.load(plan.val_rows, plan.prepared_folder, plan.base, settings)
    if not validation.tiles:
        _LOGGER.warning(
            "training in %s has no val tiles: the last epoch is taken for the best", plan.folder
        )
    schedule = make_schedule(settings, settings.images_per_epoch or len(examples), default_rate)
    _LOGGER.info(
        "training in %s: %d images with %d cells, %d val tiles, %d steps on %s",
        plan.folder,
        len(examples),
        sum(example.n_cells for example in examples),
        len(validation.tiles),
        schedule.n_steps,
        used_device,
    )
    loop = Loop(
        Job(
            folder=plan.folder,
            training=plan.training,
            settings=settings,
            schedule=schedule,
            device=used_device,
            checkpoint_every_s=checkpoint_every_s,
            watch=watch,
            report=report,
        ),
        net,
        examples,
        validation,
    )
    progress = loop.run()
    last = copy_weights(net)
    record = _make_record(plan, schedule, examples, dropped, progress)
    return write_training(plan.folder, last, progress.best_weights or last, record)


def _check_net(net: Any, settings: TrainingSettings, device: str) -> float:
    """The net's default learning rate, after refusing settings that it cannot be trained with."""
    is_cellpose_sam = any(name.startswith("encoder.") for name in net.state_dict())
    if is_cellpose_sam and settings.crop_px != _CELLPOSE_SAM_CROP_PX:
        raise TrainingError(
            f"crop_px must be {_CELLPOSE_SAM_CROP_PX} for Cellpose-SAM, got {settings.crop_px}; "
            "leave it at its default"
        )
    if settings.precision == "bf16" and device == "cpu":
        raise TrainingError(
            "precision must be fp32 on a CPU, got bf16, which is several times slower there; set "
            "precision to fp32, or device to cuda"
        )
    return CELLPOSE_SAM_LEARNING_RATE if is_cellpose_sam else TINY_LEARNING_RATE


def _pick_rows(
    prepared: pd.DataFrame, train_ids: Sequence[str], val_ids: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of train and val, each by tile id.

    Raises:
        TrainingError: for ids that are double, in both, or not in the table; or no train id.
    """
    wanted = [*train_ids, *val_ids]
    double = sorted({tile_id for tile_id in wanted if wanted.count(tile_id) > 1})
    unknown = sorted(set(wanted) - set(prepared["tile_id"]))
    problems = [
        f"{len(ids)} {what} ({', '.join(ids[:_NAMES_SHOWN])})"
        for ids, what in ((double, "twice, or in train and val"), (unknown, "not prepared"))
        if ids
    ]
    if not train_ids:
        problems.append("none to train on")
    if problems:
        raise TrainingError(
            f"tiles of a training must be prepared and different, got {len(train_ids)} to train "
            f"on and {len(val_ids)} of val, of these {' and '.join(problems)}; correct the ids"
        )
    table = prepared.set_index("tile_id", drop=False)
    return table.loc[sorted(train_ids)], table.loc[sorted(val_ids)]


def _describe(
    train_ids: Sequence[str],
    val_ids: Sequence[str],
    base: Recipe,
    base_sha256: str,
    settings: TrainingSettings,
) -> dict[str, Any]:
    """All that shapes a training, but for the pixels of its tiles."""
    return {
        "train_ids": sorted(train_ids),
        "val_ids": sorted(val_ids),
        "base": base.model_dump(mode="json", exclude=_UNUSED_OF_BASE),
        "base_sha256": base_sha256,
        "settings": settings.model_dump(mode="json"),
        "versions": library_versions("cellpose", "torch", "numpy"),
    }


def _refuse_if_asked(plan: _Plan, watch: Watch) -> None:
    """Stops before the first step of this run, when there is nothing new to save."""
    if reason := watch.find_reason():
        raise TrainingStopped(
            f"training in {plan.folder} stopped before its first step of this run: {reason}; run "
            "it again"
        )


def _make_record(
    plan: _Plan,
    schedule: Schedule,
    examples: Sequence[Example],
    dropped: Sequence[DroppedTile],
    progress: Progress,
) -> dict[str, Any]:
    """What `training.json` says, but for the checksums of the weights."""
    by_f1 = progress.best_epoch is not None
    return {
        "training": plan.training,
        "base_model": plan.base.model,
        "base_sha256": plan.base_sha256,
        "base": plan.base.model_dump(mode="json", exclude=_UNUSED_OF_BASE),
        "settings": plan.settings.model_dump(mode="json"),
        "learning_rate": schedule.peak,
        "n_steps": schedule.n_steps,
        "train_ids": [example.tile_id for example in examples],
        "n_train_cells": sum(example.n_cells for example in examples),
        "dropped": [asdict(tile) for tile in dropped],
        "val_ids": [str(tile_id) for tile_id in plan.val_rows["tile_id"]],
        "best_epoch": progress.best_epoch if by_f1 else progress.epoch,
        "best_by": "val_f1_pooled" if by_f1 else "last epoch, since there are no val tiles",
        "val_f1_pooled": progress.best_f1,
        "weights_moved_fraction": progress.history[-1]["weights_moved_fraction"],
        "devices": progress.devices,
        "n_resumes": progress.n_resumes,
        "seconds": progress.seconds,
        "versions": library_versions("cellpose", "torch", "numpy"),
    }
