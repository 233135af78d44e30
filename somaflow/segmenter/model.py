"""The one place where tiles meet Cellpose: weights go in, instance labels come out.

Enters: a model (`tiny`, a name that Cellpose can fetch, or a checkpoint file) and (2, Y, X) tiles.
Leaves: (Y, X) uint32 labels, bit for bit those of ``CellposeModel.eval`` on the CPU. Refuses
weights that are not exactly what was asked for, and recipes meant for others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from somaflow import timing
from somaflow.errors import ModelError
from somaflow.recipes import Channels, Normalisation, Recipe, Segments
from somaflow.segmenter.candidates import Candidates, Prediction, find_candidates
from somaflow.segmenter.crops import average_crops, cut_crops, plan_crops
from somaflow.segmenter.device import Device, limit_threads
from somaflow.segmenter.inputs import check_tiles, normalise_input
from somaflow.segmenter.nets import load_net
from somaflow.segmenter.threshold import THRESHOLD, ThresholdSegmenter
from somaflow.segmenter.upstream import wrap_in_cellpose

_BATCH_SIZE = 8
"""Crops a batch, as Cellpose's eval has them."""


@dataclass(frozen=True)
class Segmenter:
    """One loaded net, known by the sha256 of its weights; made by `load_segmenter`."""

    model: str
    """The model as asked for: a name or a path."""
    sha256: str
    """Checksum of the weights file, as hex; empty for a net that is not a file's."""
    device: str
    """Where the net runs: `cuda` or `cpu`, never `auto`."""
    cellpose_model: Any
    """The same net in Cellpose's own ``CellposeModel``."""

    def segment(self, tiles: Sequence[NDArray[Any]], recipe: Recipe) -> list[NDArray[np.uint32]]:
        """Labels of each tile, (Y, X) uint32, 0 = background.

        Args:
            tiles: arrays (2, Y, X), DAPI first, of any real dtype; left as they are.
            recipe: channels, thresholds and gate; if it names a checksum, that of the loaded
                weights.

        Raises:
            TileError: for tiles that are not (2, Y, X), finite and at least 16 px a side; every
                bad one is named before the first is segmented.
            ModelError: if the recipe asks for weights of another checksum, or has sets per marker.
        """
        self._check_recipe(recipe)
        check_tiles(tiles)
        return [self._segment_tile(tile, recipe) for tile in tiles]

    def _check_recipe(self, recipe: Recipe) -> None:
        if recipe.per_marker:
            raise ModelError(
                f"a recipe must be one set to segment with, {recipe.name} has sets for "
                f"{', '.join(recipe.per_marker)}; pass recipe.for_marker(marker of the tiles)"
            )
        if recipe.model_sha256 not in (None, self.sha256):
            raise ModelError(
                f"recipe {recipe.name} must run on weights of sha256 {recipe.model_sha256}, the "
                f"loaded {self.model} has {self.sha256}; load the recipe's model"
            )

    def predict(
        self,
        tile: NDArray[Any],
        channels: Channels = "both",
        normalisation: Normalisation = "percentiles",
    ) -> Prediction:
        """What the net says about a tile; as much work for the net as `segment`.

        Args:
            tile: (2, Y, X), DAPI first, of any real dtype; left as it is.
            channels: `marker` blanks DAPI.
            normalisation: how the tile is scaled, as for `normalise_input`.

        Raises:
            TileError: if the tile is not (2, Y, X) real finite numbers, at least 16 px a side.
        """
        import torch

        # The steps of CellposeModel.eval (4.2.1.1), without the colour picture it draws.
        with timing.stage(timing.NORMALISE):
            planes = normalise_input(tile, channels, normalisation)
        height_px, width_px = planes.shape[1:]
        crops = plan_crops(height_px, width_px)
        cut, net = cut_crops(planes, crops), self.cellpose_model.net.eval()
        said = np.empty_like(cut)
        with torch.no_grad():
            for start in range(0, len(cut), _BATCH_SIZE):
                part = slice(start, start + _BATCH_SIZE)
                batch = torch.from_numpy(cut[part]).to(net.device, net.dtype)
                said[part] = net(batch)[0].float().cpu().numpy()
        flow_y, flow_x, cellprob = average_crops(said, crops, height_px, width_px)
        return Prediction(np.stack([flow_y, flow_x]), cellprob)

    def find_candidates(self, prediction: Prediction, cellprob_threshold: float) -> Candidates:
        """The objects of a prediction before any is removed, to be chosen from by thresholds.

        Flows are followed on the segmenter's device and checked on the CPU, where every label is
        Cellpose's, bit for bit.

        Args:
            prediction: of `predict`.
            cellprob_threshold: a logit; lower finds more and larger objects.
        """
        return find_candidates(prediction, cellprob_threshold, self.cellpose_model.device)

    def _segment_tile(self, tile: NDArray[Any], recipe: Recipe) -> NDArray[np.uint32]:
        prediction = self.predict(tile, recipe.channels, recipe.normalisation)
        with timing.stage(timing.DYNAMICS):
            candidates = self.find_candidates(prediction, recipe.cellprob_threshold)
        with timing.stage(timing.CHECK):
            return candidates.select_gated(recipe, tile[1])


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
    net, found_sha256, _ = load_net(model, device, sha256)
    return wrap_net(net, str(model), found_sha256)


def load_for(recipe: Recipe, device: Device) -> Segments:
    """What segments with one set: its net, or none for `threshold`.

    For processes that share a machine: torch is left with one CPU thread.

    Raises:
        ModelError: as `load_segmenter`.
        DeviceError: as `load_segmenter`.
    """
    if recipe.model == THRESHOLD:
        return ThresholdSegmenter()
    limit_threads(1)  # more threads slow each other down
    return load_segmenter(recipe.model, device, recipe.model_sha256)


def wrap_net(net: Any, model: str, sha256: str = "") -> Segmenter:
    """A segmenter around a loaded net, which stays the caller's: it sees every later change.

    Segmenting puts the net in evaluation mode; a trainer calls ``net.train()`` afterwards.

    Args:
        net: of `load_net`, `build_tiny_net` or Cellpose.
        model: what to call it.
        sha256: checksum of its weights file, if they are a file's.
    """
    return Segmenter(model, sha256, net.device.type, wrap_in_cellpose(net, model))
