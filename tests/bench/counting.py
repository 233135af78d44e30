"""Counting matches: somaflow.evaluation against Cellpose."""

import numpy as np

from somaflow.evaluation import count_matches
from tests.bench.labels import jitter_labels, make_ellipses
from tests.bench.timing import time_pair


def bench_count_matches(n_cells: int = 500, size_px: int = 1024) -> dict[str, object]:
    """One tile's TP, FP and FN at IoU 0.5."""
    from cellpose.metrics import average_precision

    reference = make_ellipses(n_cells, (size_px, size_px))
    predicted = jitter_labels(reference)
    _, tp, fp, fn = average_precision(reference, predicted, threshold=[0.5])
    ours = count_matches(reference, predicted)
    times = time_pair(
        lambda: count_matches(reference, predicted),
        lambda: average_precision(reference, predicted, threshold=[0.5]),
    )
    return {
        "name": "count_matches",
        **times,
        "equal": bool(np.array_equal([tp[0], fp[0], fn[0]], [ours.tp, ours.fp, ours.fn])),
        "theirs": f"cellpose.metrics.average_precision, threshold=[0.5], {n_cells} cells on "
        f"{size_px} x {size_px} px",
    }
