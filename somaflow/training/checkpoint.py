"""The state of a running training in one file: all that is needed to go on bit for bit.

Enters: what the loop holds. Leaves: ``state.pt``, replaced whole, which plain
``torch.load(weights_only=True)`` reads. Refuses the state of another training. A file that a disk
has damaged is set aside with a warning, and the training begins anew.
"""

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import somaflow
from somaflow.errors import TrainingError
from somaflow.files import write_bytes
from somaflow.schema import FIELDS, STATE, check_stamp

if TYPE_CHECKING:
    import torch

STATE_NAME = "state.pt"
_SEAL = b"\nsha256 "
_SEAL_BYTES = len(_SEAL) + 64
_CHUNK_BYTES = 1 << 22
_LOGGER = logging.getLogger(__name__)

Weights = dict[str, "torch.Tensor"]


@dataclass
class Progress:
    """Where a training stands; plain values and tensors only."""

    epoch: int = 0
    """Epochs that are over."""
    step: int = 0
    """Steps done in the running epoch; all of them = only the scoring is missing."""
    order: list[int] = field(default_factory=list)
    """Images of the running epoch; empty = it has not begun."""
    loss_sum: float = 0.0
    """Over the images of the running epoch."""
    draws: dict[str, Any] = field(default_factory=dict)
    """numpy's generator, from `encode_draws`."""
    torch_cpu: Any = None
    """torch's generator state on the CPU, (N,) uint8."""
    torch_cuda: Any = None
    """... and on the GPU, where one is used."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A row an epoch, columns as in the history file."""
    best_epoch: int | None = None
    """From 1, as in the history."""
    best_f1: float | None = None
    best_weights: Weights | None = None
    seconds: float = 0.0
    """Spent so far, over all runs."""
    epoch_seconds: float = 0.0
    """... in the running epoch."""
    n_resumes: int = 0
    devices: list[str] = field(default_factory=list)
    """Every device the training has run on."""


def copy_weights(net: Any) -> Weights:
    """Weights of a net, copied to the CPU."""
    return {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}


def encode_weights_file(weights: Weights) -> bytes:
    """The weights as a torch file; equal weights give equal bytes."""
    return _encode(weights).getvalue()


def save_state(
    folder: Path, training: str, net: Any, optimizer: "torch.optim.Optimizer", progress: Progress
) -> None:
    """Replaces the state file of a training.

    Args:
        folder: of the training.
        training: digest of what is trained, and how.
        net: as after the last step.
        optimizer: likewise.
        progress: likewise.

    Raises:
        OutputError: if it cannot be written; the former file is kept.
    """
    content = {
        "schema": STATE.version,  # its name since release 0.1.0
        "somaflow": somaflow.__version__,
        "training": training,
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": {part.name: getattr(progress, part.name) for part in fields(Progress)},
    }
    write_bytes(folder / STATE_NAME, _seal(_encode(content)))


def load_state(
    folder: Path, training: str, net: Any, optimizer: "torch.optim.Optimizer"
) -> Progress | None:
    """Puts net and optimizer where they were and returns the progress; None = begin anew.

    Raises:
        TrainingError: if the state belongs to another training.
        SchemaError: if a newer somaflow wrote it.
    """
    import torch

    path = folder / STATE_NAME
    if not path.is_file() or not _set_aside_if_damaged(path):
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    check_stamp(STATE, path, _find_stamp(content))
    _check_owner(path, content, training)
    net.load_state_dict(content["net"], strict=True)
    optimizer.load_state_dict(content["optimizer"])
    return Progress(**content["progress"])


def read_state_stamp(path: Path) -> dict[str, Any]:
    """The stamp of a saved state, as `stamps.read_stamp` gives that of other files.

    Raises:
        RuntimeError: if it is damaged.
    """
    import torch

    content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return _find_stamp(content)


def _find_stamp(content: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(FIELDS, (content.get("schema"), content.get("somaflow")), strict=True))


def _check_owner(path: Path, content: Mapping[str, Any], training: str) -> None:
    if content["training"] != training:
        raise TrainingError(
            f"a saved state must belong to the training that goes on from it, {path} belongs to "
            f"{content['training']}, not {training}: settings, tiles, base model or versions "
            "differ; choose another folder, or remove the file to begin anew"
        )


def _set_aside_if_damaged(path: Path) -> bool:
    """Whether the file is whole; if not, it is renamed and a warning says so."""
    problem = _find_damage(path)
    if problem is None:
        return True
    aside = path.with_name(f"{path.name}.bad")
    path.replace(aside)
    _LOGGER.warning(
        "the saved state %s is damaged (%s); kept as %s, the training begins anew",
        path,
        problem,
        aside.name,
    )
    return False


def _encode(content: Mapping[str, Any]) -> io.BytesIO:
    import torch

    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer


def _seal(content: io.BytesIO) -> bytes:
    """The content with its checksum behind it, which torch takes no notice of."""
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    content.seek(0, io.SEEK_END)
    content.write(_SEAL + digest.encode())
    return content.getvalue()


def _find_damage(path: Path) -> str | None:
    """What is wrong with a sealed file, or None."""
    left, digest = path.stat().st_size - _SEAL_BYTES, hashlib.sha256()
    with path.open("rb") as handle:
        while left > 0 and (chunk := handle.read(min(left, _CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
        seal = handle.read()
    if left < 0 or not seal.startswith(_SEAL):
        return "its end is missing"
    is_whole = seal.removeprefix(_SEAL).decode(errors="replace") == digest.hexdigest()
    return None if is_whole else "its checksum is another"
