"""Labelled tiles as a net is trained on them: normalised planes, and the flows of the labels.

Enters: rows of a prepared folder. Leaves: an `Example` a tile, kept in memory since flows are slow
to compute, and the tiles left out, each with its reason. Images without any cell are examples too.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from somaflow.errors import TrainingError
from somaflow.evaluation.scoring import read_prepared
from somaflow.recipes import TrainingSettings
from somaflow.segmenter import normalise_input

if TYPE_CHECKING:
    import torch

N_INPUT_PLANES = 2
"""Planes of an example that the net sees; its third input plane is always 0."""
# Cellpose takes a smaller median diameter, or that of an image without cells, for this.
_MIN_DIAMETER_PX = 5.0
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """One training image."""

    tile_id: str
    marker: str
    n_cells: int
    diameter_px: float
    """Median over the cells, at least 5."""
    planes: "torch.Tensor"
    """(5, Y, X) float32 on the CPU: DAPI, marker, cell 0 or 1, flow along Y, flow along X."""


@dataclass(frozen=True)
class DroppedTile:
    """A training tile that is not trained on."""

    tile_id: str
    reason: str


def load_examples(
    rows: pd.DataFrame,
    folder: Path,
    settings: TrainingSettings,
    device: str,
    check: Callable[[], None] = lambda: None,
) -> tuple[list[Example], list[DroppedTile]]:
    """Examples in the order of the rows, and the tiles left out.

    Args:
        rows: of `prepared.parquet`.
        folder: the folder they lie in.
        settings: channels, and the cells an image must have.
        device: where the flows are computed, `cpu` or `cuda` (the latter is not proven).
        check: called before each tile; may raise to give up.

    Raises:
        TrainingError: if no image is left.
    """
    examples, dropped = [], []
    for row in rows.itertuples():
        check()
        image, labels = read_prepared(row, folder)
        n_cells = int(np.count_nonzero(np.unique(labels)))
        if n_cells < settings.min_cells:
            reason = f"{n_cells} cells, fewer than min_cells = {settings.min_cells}"
            dropped.append(DroppedTile(str(row.tile_id), reason))
            continue
        examples.append(make_example(row, image, labels, settings, device))
    _tell_dropped(examples, dropped)
    return examples, dropped


def make_example(
    row: Any,
    image: NDArray[Any],
    labels: NDArray[Any],
    settings: TrainingSettings,
    device: str = "cpu",
) -> Example:
    """The example of one labelled tile.

    Args:
        row: has tile_id and marker.
        image: (2, Y, X), DAPI and marker.
        labels: (Y, X) integers, 0 = background.
        settings: how the net is shown the image.
        device: where the flows are computed.
    """
    import torch
    from cellpose import dynamics, utils

    # A copy, since labels_to_flows renumbers in place. Its planes: labels, cell, flow Y, flow X.
    flows = dynamics.labels_to_flows([labels.astype(np.int64)], device=torch.device(device))[0]
    # Not for 0 cells: the median of nothing is a warning.
    diameter, sizes = utils.diameters(flows[0]) if flows[0].any() else (0.0, ())
    shown = normalise_input(image, settings.channels, settings.normalisation)[:N_INPUT_PLANES]
    planes = np.concatenate([shown, flows[1:]])
    return Example(
        tile_id=str(row.tile_id),
        marker=str(row.marker),
        n_cells=len(sizes),
        diameter_px=max(_MIN_DIAMETER_PX, float(diameter)),
        planes=torch.from_numpy(planes),
    )


def balance_markers(markers: Iterable[str]) -> NDArray[np.float64]:
    """Probability of each image such that every marker is drawn equally often; adds up to 1."""
    names = pd.Series(list(markers))
    n_of_marker = names.map(names.value_counts()).to_numpy(np.float64)
    weights = 1 / n_of_marker
    return weights / weights.sum()


def _tell_dropped(examples: list[Example], dropped: list[DroppedTile]) -> None:
    if not dropped:
        return
    listed = "; ".join(f"{tile.tile_id}: {tile.reason}" for tile in dropped)
    if not examples:
        raise TrainingError(
            f"a training must have at least one image, all {len(dropped)} were left out "
            f"({listed}); lower min_cells or label more cells"
        )
    _LOGGER.warning("%d training images are left out: %s", len(dropped), listed)
