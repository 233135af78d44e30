"""Trains in a process of its own that can be killed, signalled, or made to die at a given file.

Processes are forked from a server that has imported this module, and with it torch and Cellpose
(5 to 10 s), but has computed nothing with them: that is what makes forking safe and quick.
"""

import multiprocessing
import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import cellpose.models
import cellpose.train
import numpy as np
import pandas as pd
import torch

from somaflow.errors import TrainingStopped
from somaflow.evaluation import count_matches
from somaflow.recipes import Recipe, TrainingSettings
from somaflow.segmenter import limit_threads
from somaflow.training import stop_on_signals, train_model
from tests.training.tiles import ids

assert cellpose.models and cellpose.train and torch  # imported for the server
# Compiles what numba compiles, once for all.
count_matches(np.eye(4, dtype=np.uint32), np.eye(4, dtype=np.uint32))

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def start_training(
    folder: Path,
    prepared: tuple[Path, pd.DataFrame],
    settings: TrainingSettings,
    checkpoint_every_s: float = 0.0,
    die_at: str = "",
) -> BaseProcess:
    """Starts a training and returns its process.

    Args:
        folder: of the training; `message.txt` beside it says how it ended.
        prepared: folder and table of the prepared tiles.
        settings: how to train.
        checkpoint_every_s: 0 = after each step.
        die_at: name of the file just before whose first replacement (or, for `state.pt`, whose
            removal) the process kills itself.
    """
    arguments = (folder, prepared, settings, checkpoint_every_s, die_at)
    process = _CONTEXT.Process(target=_train, args=arguments)
    process.start()
    return process


def _train(
    folder: Path,
    prepared: tuple[Path, pd.DataFrame],
    settings: TrainingSettings,
    checkpoint_every_s: float,
    die_at: str,
) -> None:
    limit_threads(1)
    if die_at:
        _die_at(die_at)
    place, table = prepared
    splits = ids(table, "train"), ids(table, "val")
    message = "finished"
    with stop_on_signals() as stop:
        try:
            train_model(
                folder,
                table,
                place,
                *splits,
                Recipe(),
                settings,
                device="cpu",
                checkpoint_every_s=checkpoint_every_s,
                stop=stop,
            )
        except TrainingStopped as stopped:
            message = str(stopped)
    folder.with_name("message.txt").write_text(message)


def _die_at(name: str) -> None:
    replace, unlink = Path.replace, Path.unlink

    def replace_or_die(path: Path, target: Path) -> Path:
        if target.name == name != "state.pt":
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    def unlink_or_die(path: Path, missing_ok: bool = False) -> None:
        if path.name == name == "state.pt":
            os.kill(os.getpid(), signal.SIGKILL)
        unlink(path, missing_ok=missing_ok)

    Path.replace = replace_or_die  # type: ignore[method-assign, assignment]
    Path.unlink = unlink_or_die  # type: ignore[method-assign]
