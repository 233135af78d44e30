"""Labels of one tile, and counts at many thresholds: somaflow.segmenter against Cellpose's eval."""

from typing import Any

import numpy as np

from somaflow.evaluation import MatchCounts, count_matches
from somaflow.evaluation.sweep import sweep_thresholds
from somaflow.recipes import Recipe
from somaflow.segmenter import Segmenter, load_segmenter, prepare_input
from somaflow.settings import ThresholdGrid
from somaflow.synthetic.nuclei import draw_nuclei
from tests.bench.timing import time_pair

_SEED = 9  # a crowded image
_N_EVALS = 10
_SETTING = ["cellprob_threshold", "flow_threshold", "min_size_px"]


def bench_segment_tile(shape: tuple[int, int] = (520, 694)) -> dict[str, object]:
    """One tile's labels with the default recipe."""
    tiny = load_segmenter("tiny", device="cpu")
    tile, _ = draw_nuclei(np.random.default_rng(_SEED), shape)
    recipe = Recipe()
    labels = tiny.segment([tile], recipe)[0]
    return {
        "name": "segment_tile",
        **time_pair(
            lambda: tiny.segment([tile], recipe), lambda: _evaluate(tiny, tile), n_repeats=5
        ),
        "equal": np.array_equal(_evaluate(tiny, tile), labels),
        "theirs": f"CellposeModel.eval of the same net on {shape[0]} x {shape[1]} px, "
        f"{labels.max()} cells",
    }


def bench_threshold_sweep(shape: tuple[int, int] = (520, 694)) -> dict[str, object]:
    """One tile's counts at 105 settings, against as many evals as they may cost at most."""
    tiny = load_segmenter("tiny", device="cpu")
    tile, reference = draw_nuclei(np.random.default_rng(_SEED), shape)
    swept = sweep_thresholds(tiny, tiny.predict(tile), reference, ThresholdGrid())
    # Spread over the grid, so that every cellprob_threshold is among them.
    chosen = swept.iloc[np.linspace(0, len(swept) - 1, _N_EVALS).round().astype(int)]
    settings = [setting._asdict() for setting in chosen[_SETTING].itertuples(index=False)]

    def evaluate_each() -> list[np.ndarray]:
        return [_evaluate(tiny, tile, **setting) for setting in settings]

    expected = [count_matches(reference, labels) for labels in evaluate_each()]
    counts = chosen.drop(columns=_SETTING).to_dict("records")
    return {
        "name": "threshold_sweep",
        **time_pair(
            lambda: sweep_thresholds(tiny, tiny.predict(tile), reference, ThresholdGrid()),
            evaluate_each,
            n_repeats=3,
        ),
        "equal": expected == [MatchCounts(**row) for row in counts],
        "theirs": f"{_N_EVALS} CellposeModel.eval's of the same net, ours are {len(swept)} "
        f"settings, on {shape[0]} x {shape[1]} px",
    }


def _evaluate(tiny: Segmenter, tile: np.ndarray, **thresholds: Any) -> np.ndarray:
    if thresholds:
        thresholds["min_size"] = thresholds.pop("min_size_px")
    return tiny.cellpose_model.eval(prepare_input(tile), channel_axis=0, **thresholds)[0]
