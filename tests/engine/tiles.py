"""Tiles on disk of every kind an engine must take, and Cellpose's own labels of them."""

from typing import Any

import numpy as np

from somaflow.segmenter import prepare_input
from somaflow.synthetic.nuclei import draw_nuclei

_BRIGHT = 40.0


def draw_tiles() -> dict[str, np.ndarray]:
    """(2, Y, X) tiles by what is special about them."""
    rng = np.random.default_rng(8)
    usual = draw_nuclei(rng, (150, 201))[0]
    dense = np.concatenate([draw_nuclei(rng, (130, 260))[0] for _ in range(2)], axis=1)
    return {
        "usual": usual,
        "odd": draw_nuclei(rng, (97, 263))[0],
        "small": usual[:, :16, :17],
        "larger than a crop": draw_nuclei(rng, (300, 290))[0],
        "dense": dense,
        "empty": np.zeros((2, 90, 130), np.uint16),
        "constant": np.full((2, 90, 130), 700, np.uint16),
        "noise": rng.integers(0, 65535, (2, 140, 150), dtype=np.uint16),
        "8 bit": (usual / usual.max() * 255).astype(np.uint8),
        "float": usual.astype(np.float32) / _BRIGHT,
        "blank DAPI": np.stack([np.zeros_like(usual[0]), usual[1]]),
    }


def evaluate(model: Any, tile: np.ndarray, **thresholds: Any) -> np.ndarray:
    """Labels of ``CellposeModel.eval``, (Y, X) uint32."""
    labels: np.ndarray = model.eval(prepare_input(tile), channel_axis=0, **thresholds)[0]
    return labels.astype(np.uint32)
