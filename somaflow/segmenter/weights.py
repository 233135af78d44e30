"""Weights files: found or fetched, read without running code, and checked against their net.

Enters: a model (`tiny`, a name that Cellpose can fetch, or a path). Leaves: tensors by name.
Refuses weights that are not exactly what was asked for: Cellpose itself takes its stock model for a
mistyped path and leaves renamed layers random (4.2.1.1, models.py and vit.py), both in silence.
"""

from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from somaflow.errors import ModelError
from somaflow.files import hash_file
from somaflow.segmenter.threshold import THRESHOLD, THRESHOLD_SHA256
from somaflow.segmenter.upstream import import_cellpose

if TYPE_CHECKING:
    import torch

FETCHED_MODELS = ("cpsam_v2", "cpsam")
"""Names of Cellpose-SAM weights that Cellpose fetches on a machine with a network."""

_NAMES_SHOWN = 4


def weights_sha256(model: str | Path = "tiny") -> str:
    """Checksum of a model's weights as hex, without loading them; the model as in a recipe.

    Raises:
        ModelError: if the weights are not there and cannot be fetched.
    """
    if model == THRESHOLD:
        return THRESHOLD_SHA256
    return hash_file(find_weights(str(model)))


def find_weights(model: str) -> Path:
    """The file of a model's weights, fetched by Cellpose if need be.

    Raises:
        ModelError: if the weights are not there and cannot be fetched.
    """
    if model == "tiny":
        return Path(str(files("somaflow") / "models" / "tiny.pt"))
    if model in FETCHED_MODELS:
        return _fetch_weights(model)
    path = Path(model).expanduser()
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise ModelError(
            f"model must be tiny, {', '.join(FETCHED_MODELS)} or a checkpoint file, found {found} "
            f"at {model!r}; correct the name or the path"
        )
    return path


def _fetch_weights(name: str) -> Path:
    models, _ = import_cellpose()
    try:
        return Path(models.cache_model_path(name))
    except OSError as error:
        raise ModelError(
            f"weights of {name} could not be fetched from {models._MODEL_URL}{name} to "
            f"{models.MODEL_DIR} ({error}); fetch them on a machine with a network and put them "
            "there, or give the path of a checkpoint file"
        ) from error


def read_weights(path: Path) -> dict[str, "torch.Tensor"]:
    """Tensors by name, in float32 on the CPU, as the file has them.

    Raises:
        ModelError: if the file is not a torch file of named tensors.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # arbitrary bytes make torch.load raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"a checkpoint must be a torch file of weights, cannot read {path} ({reason}); "
            "give a file written by Cellpose or somaflow, or fetch it again"
        ) from error
    values = state.values() if isinstance(state, Mapping) else [state]
    kinds = {type(value).__name__ for value in values if not isinstance(value, torch.Tensor)}
    if kinds or not isinstance(state, Mapping):
        raise ModelError(
            f"a checkpoint must map names to tensors, found {_shorten(kinds or {'one tensor'})} "
            f"in {path}; save net.state_dict() alone"
        )
    # DataParallel puts "module." before every name; Cellpose strips it too (vit.py).
    return {str(key).removeprefix("module."): value.float() for key, value in state.items()}


def check_weights(
    path: Path,
    architecture: str,
    expected: Mapping[str, "torch.Tensor"],
    found: Mapping[str, "torch.Tensor"],
) -> None:
    """Raises a `ModelError` unless both have the same names and shapes, and all is finite."""
    shapes = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & found.keys()
        if found[key].shape != expected[key].shape
    ]
    broken = [key for key, value in found.items() if not value.isfinite().all()]
    problems: dict[str, Collection[str]] = {
        "missing": expected.keys() - found.keys(),
        "unexpected": found.keys() - expected.keys(),
        "of another shape": shapes,
        "with NaN or infinity": broken,
    }
    listed = [f"{_shorten(names)} {what}" for what, names in problems.items() if names]
    if listed:
        raise ModelError(
            f"weights must be those of the {architecture} architecture, in {path} "
            f"found {'; '.join(listed)}; give a checkpoint of Cellpose-SAM (version 4) or tiny"
        )


def _shorten(names: Collection[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _NAMES_SHOWN
    return ", ".join(ordered[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
