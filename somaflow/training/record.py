"""A finished training: its weights, and a record of what it was, written last of all."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somaflow.errors import TrainingError
from somaflow.files import hash_file, write_bytes, write_text
from somaflow.schema import TRAINING, check_stamp, make_stamp
from somaflow.training.checkpoint import STATE_NAME, Weights, encode_weights_file

RECORD_NAME = "training.json"
BEST_NAME = "best.pt"
LAST_NAME = "last.pt"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedModel:
    """Weights that a training has made."""

    path: Path
    """Weights of the best epoch, for `Recipe.model`."""
    sha256: str
    """Their checksum, for `Recipe.model_sha256`."""
    last_path: Path
    """Weights after the last step."""
    best_epoch: int
    """From 1."""
    val_f1_pooled: float | None
    """Of the best epoch; None without val tiles, where the best epoch is the last."""
    seconds: float
    """Of all runs together."""
    record: dict[str, Any]
    """All of `training.json`."""


def is_trained(folder: Path) -> bool:
    """Whether the folder holds a finished training whose weights are those of its record.

    Raises:
        SchemaError: if a newer somaflow wrote that.
    """
    record = _read_record(Path(folder))
    return record is not None and not _find_damage(Path(folder), record)


def read_training(folder: Path) -> TrainedModel:
    """The finished training of a folder.

    Raises:
        TrainingError: if there is none, or its weights are not those of its record.
    """
    folder = Path(folder)
    record = _read_record(folder)
    problem = f"no whole {RECORD_NAME}" if record is None else _find_damage(folder, record)
    if record is None or problem:
        raise TrainingError(
            f"a finished training must hold {RECORD_NAME} and the weights it names, found "
            f"{problem} in {folder}; train again, which goes on from {STATE_NAME} if that is there"
        )
    return TrainedModel(
        path=folder / BEST_NAME,
        sha256=record["files"][BEST_NAME],
        last_path=folder / LAST_NAME,
        best_epoch=record["best_epoch"],
        val_f1_pooled=record["val_f1_pooled"],
        seconds=record["seconds"],
        record=record,
    )


def recorded_weights(folder: Path) -> tuple[Path, str] | None:
    """Path and sha256 of the best weights as recorded, unchecked; None where there is no record."""
    record = _read_record(Path(folder))
    return None if record is None else (Path(folder) / BEST_NAME, record["files"][BEST_NAME])


def find_training(folder: Path, training: str) -> TrainedModel | None:
    """The finished training of a folder, or None where it has to be trained.

    Args:
        folder: of the training.
        training: digest of what is asked for.

    Raises:
        TrainingError: if the folder holds another training.
    """
    record = _read_record(folder)
    if record is None:
        return None
    if record["training"] != training:
        raise TrainingError(
            f"a folder must hold one training, {folder} holds {record['training']}, not "
            f"{training}: settings, tiles, base model or versions differ; choose another folder"
        )
    if problem := _find_damage(folder, record):
        _LOGGER.warning("%s in %s; training anew", problem, folder)
        return None
    # Left behind by a process that died between the record and the removal.
    (folder / STATE_NAME).unlink(missing_ok=True)
    return read_training(folder)


def write_training(
    folder: Path, last: Weights, best: Weights, record: Mapping[str, Any]
) -> TrainedModel:
    """Writes the weights, then the record, then removes the saved state; returns the training.

    A process killed in between leaves a folder that is not finished and goes on from its state,
    to the same bytes.

    Raises:
        OutputError: if a file cannot be written.
    """
    files = {
        name: write_bytes(folder / name, encode_weights_file(weights))
        for name, weights in ((LAST_NAME, last), (BEST_NAME, best))
    }
    content = {**make_stamp(TRAINING), **record, "files": files}
    write_text(folder / RECORD_NAME, json.dumps(content, indent=2, allow_nan=False) + "\n")
    (folder / STATE_NAME).unlink(missing_ok=True)
    return read_training(folder)


def _read_record(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:  # a damaged disk; we write it whole
        _LOGGER.warning("%s is damaged (%s)", path, error)
        return None
    check_stamp(TRAINING, path, content)
    return content


def _find_damage(folder: Path, record: Mapping[str, Any]) -> str | None:
    """Which weights are not those of the record, or None."""
    for name, sha256 in record["files"].items():
        path = folder / name
        if not path.is_file():
            return f"no {name}"
        if hash_file(path) != sha256:
            return f"{name} with another checksum than {RECORD_NAME} says"
    return None
