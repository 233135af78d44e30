"""The one place where tiles meet Cellpose: weights go in, instance labels come out.

Enters: a model (`tiny`, a name that Cellpose can fetch, or a checkpoint file) and (2, Y, X) tiles.
Leaves: (Y, X) uint32 labels, bit for bit those of ``CellposeModel.eval`` on the CPU. Refuses
weights that are not exactly what was asked for: Cellpose itself takes its stock model for a
mistyped path and leaves renamed layers random (4.2.1.1, models.py and vit.py), both in silence.
"""

import logging
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from somaflow.errors import DeviceError, ModelError, TileError
from somaflow.files import hash_file
from somaflow.recipes import Recipe

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cuda", "cpu"]

FETCHED_MODELS = ("cpsam_v2", "cpsam")
"""Names of Cellpose-SAM weights that Cellpose fetches on a machine with a network."""
MIN_SIDE_PX = 16

# In full and always passed: eval writes a bare True or False into models.normalize_default, so one
# call with normalize=False anywhere switches it off for all that rely on the default.
NORMALISATION: Mapping[str, Any] = MappingProxyType(
    dict(lowhigh=None, percentile=None, normalize=True, norm3D=True, invert=False)
    | dict(sharpen_radius=0, smooth_radius=0, tile_norm_blocksize=0, tile_norm_smooth3D=1)
)
"""Cellpose's own defaults: each channel from its 1st to its 99th percentile."""

_BATCH_SIZE = 8
_NAMES_SHOWN = 4
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segmenter:
    """One loaded net, known by the sha256 of its weights; made by `load_segmenter`."""

    model: str
    """The model as asked for: a name or a path."""
    sha256: str
    """Checksum of the weights file, as hex."""
    device: str
    """Where the net runs: `cuda` or `cpu`, never `auto`."""
    cellpose_model: Any
    """The same net in Cellpose's own ``CellposeModel``."""

    def segment(self, tiles: Sequence[NDArray[Any]], recipe: Recipe) -> list[NDArray[np.uint32]]:
        """Labels of each tile, (Y, X) uint32, 0 = background.

        Args:
            tiles: arrays (2, Y, X), DAPI first, of any real dtype; left as they are.
            recipe: thresholds and gate; if it names a checksum, that of the loaded weights.

        Raises:
            TileError: for tiles that are not (2, Y, X), finite and at least 16 px a side; every
                bad one is named before the first is segmented.
            ModelError: if the recipe asks for weights of another checksum.
        """
        if recipe.model_sha256 not in (None, self.sha256):
            raise ModelError(
                f"recipe {recipe.name} must run on weights of sha256 {recipe.model_sha256}, the "
                f"loaded {self.model} has {self.sha256}; load the recipe's model"
            )
        _check_tiles(tiles)
        return [self._segment_tile(tile, recipe) for tile in tiles]

    def _segment_tile(self, tile: NDArray[Any], recipe: Recipe) -> NDArray[np.uint32]:
        arguments = self._translate_recipe(recipe)
        found, _, _ = self.cellpose_model.eval(prepare_input(tile), **arguments)
        labels = np.asarray(found, dtype=np.uint32)
        if recipe.gate is None:
            return labels
        from somaflow.gating import gate_labels

        return gate_labels(labels, np.asarray(tile[1]), recipe.gate)

    @staticmethod
    def _translate_recipe(recipe: Recipe) -> dict[str, Any]:
        """The recipe in Cellpose's argument names; nothing else in somaflow knows them."""
        return {
            "channel_axis": 0,
            "batch_size": _BATCH_SIZE,
            "flow_threshold": recipe.flow_threshold,
            "cellprob_threshold": recipe.cellprob_threshold,
            "min_size": recipe.min_size_px,
            "normalize": dict(NORMALISATION),
        }


def load_segmenter(
    model: str | Path = "tiny", device: Device = "auto", sha256: str | None = None
) -> Segmenter:
    """A segmenter with exactly the weights and on exactly the device asked for.

    Args:
        model: `tiny` (embedded), `cpsam_v2` or `cpsam` (fetched by Cellpose once, then kept in its
            cache folder), or the path of a checkpoint file of either architecture.
        device: `cpu`, `cuda`, or `auto` = CUDA where it is usable; `Segmenter.device` says which.
        sha256: if given, the weights file must have this checksum (hex).

    Raises:
        ModelError: if the weights are not there, not a checkpoint, of another checksum, or differ
            from the architecture in a key or a shape.
        DeviceError: if the device is not there, or not one of the three words.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise DeviceError(f"device must be auto, cuda or cpu, got {device!r}; choose one of them")
    path = _find_weights(str(model))
    found_sha256 = hash_file(path)
    if sha256 not in (None, found_sha256):
        raise ModelError(
            f"weights of {model} must have sha256 {sha256}, {path} has {found_sha256}; "
            "give the file that was meant, or the checksum of this one"
        )
    chosen = _choose_device(device)
    cellpose_model = _define_ready_model()(_load_net(path, chosen), path)
    return Segmenter(str(model), found_sha256, chosen, cellpose_model)


def weights_sha256(model: str | Path = "tiny") -> str:
    """Checksum of a model's weights as hex, without loading them; the model as `load_segmenter`.

    Raises:
        ModelError: if the weights are not there and cannot be fetched.
    """
    return hash_file(_find_weights(str(model)))


def prepare_input(tile: ArrayLike) -> NDArray[Any]:
    """A copy of the tile as Cellpose's nets take it: (3, Y, X) = DAPI, marker, zeros.

    Args:
        tile: (2, Y, X), of any real dtype, which is kept.

    Raises:
        TileError: if the tile is not (2, Y, X) real finite numbers, at least 16 px a side.
    """
    array = np.asarray(tile)
    problem = _find_problem(array)
    if problem:
        raise TileError(f"{problem}; pass (DAPI, marker) as one array")
    dapi, marker = array
    return np.stack([dapi, marker, np.zeros_like(dapi)])


def limit_threads(n_threads: int) -> None:
    """Lets torch use so many CPU threads; workers that share a machine are fastest with one.

    Raises:
        DeviceError: if `n_threads` is below 1.
    """
    if n_threads < 1:
        raise DeviceError(f"threads must be at least 1, got {n_threads}; give a positive number")
    import torch

    torch.set_num_threads(n_threads)


def build_tiny_net() -> "torch.nn.Module":
    """A new `tiny` net with random weights, on the CPU in float32."""
    return _define_tiny_net()()


def _check_tiles(tiles: Sequence[NDArray[Any]]) -> None:
    found = [(index, _find_problem(np.asarray(tile))) for index, tile in enumerate(tiles)]
    problems = [f"tile {index} of {len(tiles)}: {what}" for index, what in found if what]
    if problems:
        raise TileError("\n".join([*problems, "pass a list of (DAPI, marker) arrays"]))


def _find_problem(tile: NDArray[Any]) -> str | None:
    is_pair = tile.ndim == 3 and len(tile) == 2 and min(tile.shape[1:]) >= MIN_SIDE_PX
    if not is_pair or tile.dtype.kind not in "biuf":
        return (
            f"a tile must be (2, Y, X) real numbers, at least {MIN_SIDE_PX} px a side, "
            f"got {tile.shape} {tile.dtype}"
        )
    if tile.dtype.kind == "f" and not np.isfinite(tile).all():
        return f"a tile must be finite, got NaN or infinity in {tile.shape} {tile.dtype}"
    return None


def _choose_device(device: Device) -> str:
    problem = None if device == "cpu" else _probe_cuda()
    if device == "cuda" and problem:
        raise DeviceError(
            f"device cuda must be usable, here {problem}; ask for a GPU, or set device to cpu"
        )
    return "cpu" if device == "cpu" or problem else "cuda"


def _probe_cuda() -> str | None:
    """Why CUDA cannot be used, or None; a device can be listed and still refuse to work."""
    import torch

    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        _LOGGER.warning("a CUDA device is listed but does not work: %s", error)
        return f"a CUDA device is listed but does not work ({error})"
    return None


def _find_weights(model: str) -> Path:
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
    models, _ = _import_cellpose()
    try:
        return Path(models.cache_model_path(name))
    except OSError as error:
        raise ModelError(
            f"weights of {name} could not be fetched from {models._MODEL_URL}{name} to "
            f"{models.MODEL_DIR} ({error}); fetch them on a machine with a network and put them "
            "there, or give the path of a checkpoint file"
        ) from error


def _load_net(path: Path, device: str) -> Any:
    """The net that the file's keys belong to, on the device, every weight from the file."""
    import torch

    _, vit = _import_cellpose()
    state = _read_state(path)
    is_cpsam = any(key.startswith("encoder.") for key in state)
    # Without memory or random numbers: every parameter comes from the file or loading fails.
    with torch.device("meta"):
        net = vit.CPSAM() if is_cpsam else build_tiny_net()
    _check_state(path, "Cellpose-SAM" if is_cpsam else "tiny", net.state_dict(), state)
    net.load_state_dict(state, strict=True, assign=True)
    net.to(torch.device(device))
    if is_cpsam and device == "cuda":
        # As Cellpose does; on a CPU bfloat16 is 5-9 x slower than float32 (measured).
        net.dtype = torch.bfloat16
    return net


def _read_state(path: Path) -> dict[str, "torch.Tensor"]:
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


def _check_state(
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


@cache
def _import_cellpose() -> tuple[Any, Any]:
    """``cellpose.models`` and ``cellpose.vit``; importing them takes 5 to 10 s."""
    # They would advise to install a net not used here, and report every empty tile.
    logging.getLogger("cellpose").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly disabled")
    from cellpose import models, vit

    return models, vit


@cache
def _define_ready_model() -> Any:
    models, _ = _import_cellpose()

    class ReadyCellposeModel(models.CellposeModel):  # type: ignore[name-defined]
        """Cellpose's model around a net that is already loaded and checked."""

        def __init__(self, net: Any, path: Path) -> None:
            # Not super().__init__: it looks for, fetches and loads weights by its own rules.
            self.net = net
            self.device = net.device
            self.gpu = net.device.type == "cuda"
            self.pretrained_model = str(path)
            self.backbone = "sam_vitl"  # makes eval cut crops of 256 px

    return ReadyCellposeModel


@cache
def _define_tiny_net() -> type:
    _, vit = _import_cellpose()
    import torch
    from torch import nn
    from torch.nn.functional import pad, relu

    class TinyNet(vit.BaseModel):  # type: ignore[name-defined]
        """A U-Net of about 31,000 parameters with Cellpose's inputs and outputs.

        The stem halves the image, which makes it fast and lets each pixel see about 100 px.
        No normalisation layers: it can be fine-tuned on batches of any size.
        """

        def __init__(self) -> None:
            super().__init__()
            # Numbers are strides: level_4 works on a quarter of the image's side.
            self.stem_2 = nn.Conv2d(3, 8, 5, stride=2, padding=2)
            self.level_2 = nn.Conv2d(8, 8, 3, padding=1)
            self.down_4 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
            self.level_4 = nn.Conv2d(16, 16, 3, padding=1)
            self.down_8 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
            self.level_8 = nn.Conv2d(32, 32, 3, padding=2, dilation=2)
            self.merge_4 = nn.Conv2d(32 + 16, 16, 3, padding=1)
            self.refine_4 = nn.Conv2d(16, 16, 3, padding=1)
            self.merge_2 = nn.Conv2d(16 + 8, 8, 3, padding=1)
            self.refine_2 = nn.Conv2d(8, 8, 3, padding=1)
            self.head = nn.Conv2d(8, 3, 3, padding=1)
            self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
            # BaseModel.load_model takes files with a W2 only (its mark of version 4).
            self.W2 = nn.Parameter(torch.zeros(1), requires_grad=False)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """Flows and logits (B, 3, Y, X), empty styles (B, 256); images (B, C<=3, 8Y, 8X)."""
            images = pad(images, (0, 0, 0, 0, 0, 3 - images.shape[1]))
            fine = self._refine(self.stem_2(images), self.level_2)
            middle = self._refine(self.down_4(fine), self.level_4)
            coarse = self._refine(self.down_8(middle), self.level_8)
            middle = self.merge_4(torch.cat([self.upsample(coarse), middle], dim=1))
            middle = self._refine(middle, self.refine_4)
            fine = self.merge_2(torch.cat([self.upsample(middle), fine], dim=1))
            fine = self._refine(fine, self.refine_2)
            return self.upsample(self.head(fine)), images.new_zeros((len(images), 256))

        def _refine(self, features: torch.Tensor, layer: nn.Module) -> torch.Tensor:
            features = relu(features)
            return relu(features + layer(features))

    return TinyNet
