"""The five metrics from sums of counts, and their bootstrap resamples.

Enters: counts an image and the unit (donor or image) each belongs to. Leaves: metric values.
A resample draws units with replacement; as all metrics are ratios of sums over images, it is a
product of the drawn weights with the sums of each unit, without a loop over resamples.
"""

import numpy as np

from somaflow.errors import ScoringError

METRICS = ("ap50_image_mean", "ap50_pooled", "precision_pooled", "recall_pooled", "f1_pooled")
# Weights are drawn in blocks of this many entries (32 MB); 2000 resamples of 15,000 images at
# once would take 240 MB.
_BLOCK_ENTRIES = 4_000_000


def unit_sums(counts: np.ndarray, unit: np.ndarray, n_units: int) -> np.ndarray:
    """Returns the sums of tp, fp, fn, image AP50 and images of each unit.

    Args:
        counts: (I, 3) float64, tp, fp and fn of each image.
        unit: (I,) integers in [0, n_units), the unit of each image.
        n_units: U, the number of units.

    Returns:
        (U, 5) float64.
    """
    total = counts.sum(axis=1)
    ap50 = _ratio(counts[:, 0], total, undefined=np.ones(len(counts)))
    columns = np.column_stack([counts, ap50, np.ones(len(counts))])
    sums = [np.bincount(unit, weights=column, minlength=n_units) for column in columns.T]
    return np.column_stack(sums)


def metric_values(sums: np.ndarray) -> np.ndarray:
    """Returns the five metrics in the order of `METRICS`.

    Args:
        sums: (..., 5) float64, sums of tp, fp, fn, image AP50 and images.

    Returns:
        (..., 5) float64; 0/0 is 1 where there is no cell on either side, otherwise NaN.
    """
    tp, fp, fn, ap50, n_images = np.moveaxis(sums, -1, 0)
    undefined = np.where(tp + fp + fn == 0, 1.0, np.nan)
    values = [
        ap50 / n_images,
        _ratio(tp, tp + fp + fn, undefined),
        _ratio(tp, tp + fp, undefined),
        _ratio(tp, tp + fn, undefined),
        _ratio(2 * tp, 2 * tp + fp + fn, undefined),
    ]
    return np.stack(values, axis=-1)


def resample_metrics(sums: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Returns the metrics of bootstrap resamples of units.

    Equal `seed`, `n_resamples` and number of units draw the same units, whatever their sums: two
    tables resampled so are paired.

    Args:
        sums: (U, 5) float64 of `unit_sums`, U >= 1.
        n_resamples: number of resamples, >= 1.
        seed: of the draws.

    Returns:
        (n_resamples, 5) float64.

    Raises:
        ScoringError: if `n_resamples` is not a whole number >= 1.
    """
    if not isinstance(n_resamples, int | np.integer) or n_resamples < 1:
        raise ScoringError(f"n_resamples must be a whole number >= 1, got {n_resamples!r}")
    rng = np.random.default_rng(seed)
    n_units = len(sums)
    block = max(1, _BLOCK_ENTRIES // n_units)
    chances = np.full(n_units, 1 / n_units)
    draws = []
    for start in range(0, n_resamples, block):
        # (block, U) weights @ (U, 5) sums -> (block, 5)
        weights = rng.multinomial(n_units, chances, size=min(block, n_resamples - start))
        draws.append(metric_values(weights @ sums))
    return np.concatenate(draws)


def _ratio(part: np.ndarray, whole: np.ndarray, undefined: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=undefined.copy(), where=whole > 0)
