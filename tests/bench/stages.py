"""Each step around the net that somaflow does by its own code, against Cellpose's of the same."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from cellpose import core, dynamics, transforms, utils

from somaflow.segmenter import load_segmenter, normalise_input, prepare_input
from somaflow.segmenter.candidates import Candidates, find_candidates
from somaflow.segmenter.crops import average_crops, cut_crops, plan_crops
from somaflow.segmenter.flow_errors import measure_flow_errors
from somaflow.segmenter.holes import fill_and_clean
from tests.bench.engine import SHAPE, draw_tile
from tests.bench.timing import time_pair

_SEED, _REPEATS, _MIN_SIZE_PX = 3, 5, 15


def bench_stages(shape: tuple[int, int] = SHAPE) -> list[dict[str, object]]:
    """Scaling, crops, dynamics, flow check and holes of one tile, a row each."""
    tiny = load_segmenter("tiny", device="cpu")
    tile = draw_tile(np.random.default_rng(_SEED), "in_domain", shape)
    prediction = tiny.predict(tile)
    found = find_candidates(prediction, 0.0)
    n_cells = int(found.labels.max())
    pairs: dict[str, tuple[Callable[[], np.ndarray], Callable[[], np.ndarray], str]] = {
        "stage_scale": (
            partial(normalise_input, tile),
            partial(_scale_as_eval, tile),
            "transforms.normalize_img, 16 bit",
        ),
        "stage_crops": (
            partial(_average, tile),
            partial(_average_as_eval, tile),
            "core.run_net of a net that does nothing",
        ),
        "stage_dynamics": (
            lambda: find_candidates(prediction, 0.0).labels,
            lambda: dynamics.compute_masks(prediction.flows, prediction.cellprob, flow_threshold=0),
            "dynamics.compute_masks without its flow check",
        ),
        "stage_flow_check": (
            lambda: measure_flow_errors(found.labels, found.flows).errors.round(6),
            partial(_flow_errors_as_eval, found),
            "dynamics.flow_error",
        ),
        "stage_holes": (
            lambda: fill_and_clean(found.labels, _MIN_SIZE_PX),
            lambda: utils.fill_holes_and_remove_small_masks(found.labels.copy(), _MIN_SIZE_PX),
            "utils.fill_holes_and_remove_small_masks",
        ),
    }
    return [
        {
            "name": name,
            **time_pair(ours, theirs, n_repeats=_REPEATS),
            "equal": np.array_equal(ours(), theirs()),
            "theirs": f"{what}, {n_cells} cells on {shape[0]} x {shape[1]} px",
        }
        for name, (ours, theirs, what) in pairs.items()
    ]


class _Nothing(torch.nn.Module):
    """A net that says what it sees."""

    device, dtype = torch.device("cpu"), torch.float32

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images, torch.zeros(len(images), 256)


def _scale_as_eval(tile: np.ndarray) -> np.ndarray:
    image = np.moveaxis(prepare_input(tile), 0, -1)
    return np.moveaxis(transforms.normalize_img(image, percentile=None), -1, 0)


def _average(tile: np.ndarray) -> np.ndarray:
    height_px, width_px = tile.shape[1:]
    crops = plan_crops(height_px, width_px)
    planes = prepare_input(tile).astype(np.float32)
    return average_crops(cut_crops(planes, crops), crops, height_px, width_px)


def _average_as_eval(tile: np.ndarray) -> np.ndarray:
    image = np.moveaxis(prepare_input(tile).astype(np.float32), 0, -1)
    found, _ = core.run_net(_Nothing(), image[np.newaxis], bsize=256)
    averaged: np.ndarray = found[0].transpose(2, 0, 1)
    return averaged


def _flow_errors_as_eval(found: Candidates) -> np.ndarray:
    errors: np.ndarray = dynamics.flow_error(found.labels, found.flows, torch.device("cpu"))[0]
    return errors.round(6)
