"""Whether a tile can be used: focus, saturation, tissue, and the grey levels of its marker.

Enters: a (2, Y, X) tile; then the table of all tiles' measures. Leaves: a dict a tile; the table
with `passes` and `why`. Refuses: images that are not two channels of 8 or 16 bit.

Focus is the variance of the Laplacian (Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548) of
2 x 2 px means, which halves the camera's noise, over the squared mean: without a unit, the same at
any gain. It depends on the stain, so tiles are judged against the other tiles of their marker.

A pixel is saturated at 255 in 8 bit; in 16 bit at the lowest of 4095, 16383 and 65535 that no
pixel of the tile exceeds, since cameras of 12 and 14 bit write 16-bit files.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from somaflow.errors import BadInputError, TileError

PERCENTILES = (60, 70, 75, 80, 90)
"""Of the marker's pixels, that phenotypes are called by."""
_CHANNELS = ("dapi", "marker")
_CEILINGS = {1: (255,), 2: (4095, 16383, 65535)}
_MIN_PX = 16


class QualityLimits(BaseModel):
    """What a tile must reach for its cells to count."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    min_relative_focus: float = Field(default=0.2, ge=0)
    """Least focus of either channel, over the median of the same marker's tiles with tissue.
    Blurred by 1.5 px, a sharp tile falls to about 0.1; 0 = any."""
    max_saturated_fraction: float = Field(default=0.05, ge=0, le=1)
    """Largest share of either channel's pixels at the camera's ceiling."""
    min_tissue_fraction: float = Field(default=0.25, ge=0, le=1)
    """Least share of the tile that is tissue and not empty glass."""


def measure_quality(
    image: np.ndarray, percentiles: Sequence[float] = PERCENTILES
) -> dict[str, float]:
    """Returns what tells whether a tile can be used, and its marker's grey levels.

    Args:
        image: (2, Y, X) uint8 or uint16, DAPI and marker, at least 16 px a side.
        percentiles: of the marker's pixels, in [0, 100].

    Returns:
        height_px, width_px, then dapi_focus, marker_focus (no unit, 0 = no detail),
        dapi_saturated_fraction, marker_saturated_fraction, tissue_fraction, tissue_px,
        marker_median, marker_p<q> of each percentile (numpy's linear definition) and marker_otsu
        (of the full histogram: pixels above it are the brighter class), in grey levels.

    Raises:
        TileError: if the image is not such a tile.
    """
    image = _check_image(image)
    height, width = image.shape[1:]
    measures: dict[str, float] = {"height_px": height, "width_px": width}
    for name, plane in zip(_CHANNELS, image, strict=True):
        measures[f"{name}_focus"] = _measure_focus(plane)
    counts = [_count_levels(plane) for plane in image]
    ceiling = _find_ceiling(image.dtype, counts)
    for name, levels in zip(_CHANNELS, counts, strict=True):
        measures[f"{name}_saturated_fraction"] = float(levels[ceiling:].sum() / levels.sum())
    # Whoever needs the limits alone should not wait for numba.
    from somaflow.tiles.tissue import count_tissue

    tissue_px = count_tissue(image)
    measures |= {"tissue_fraction": tissue_px / (height * width), "tissue_px": tissue_px}
    values = find_percentiles(counts[1], percentiles)
    measures["marker_median"] = float(find_percentiles(counts[1], [50])[0])
    measures |= {
        f"marker_p{q:g}": float(value) for q, value in zip(percentiles, values, strict=True)
    }
    return measures | {"marker_otsu": float(find_otsu(counts[1]))}


def judge_tiles(quality: pd.DataFrame, limits: QualityLimits | None = None) -> pd.DataFrame:
    """Returns `quality` with `passes` (bool) and `why` ("" or all that is wrong, in words).

    Args:
        quality: one row a tile: marker, and what `measure_quality` returns; a row of NaN is a tile
            that could not be measured, and does not pass.
        limits: by default those of `QualityLimits`.

    Raises:
        BadInputError: if a column is missing.
    """
    limits = limits or QualityLimits()
    needed = [f"{name}_{what}" for name in _CHANNELS for what in ("focus", "saturated_fraction")]
    missing = {"marker", "tissue_fraction", *needed} - set(quality)
    if missing:
        raise BadInputError(
            f"tile quality must have columns {', '.join(sorted(missing))}; "
            "measure the tiles with measure_quality"
        )
    unmeasured = quality[[*needed, "tissue_fraction"]].isna().any(axis=1).to_numpy()
    reasons = [
        np.where(unmeasured, "quality was not measured", ""),
        _name_low(quality["tissue_fraction"], limits.min_tissue_fraction, "tissue_fraction"),
    ]
    has_tissue = quality["tissue_fraction"] >= limits.min_tissue_fraction
    for name in _CHANNELS:
        share, column = f"{name}_saturated_fraction", f"{name}_focus"
        reasons.append(_name_high(quality[share], limits.max_saturated_fraction, share))
        usual = quality[column].where(has_tissue).groupby(quality["marker"]).transform("median")
        relative = quality[column] / usual.where(usual > 0)
        reasons.append(_name_low(relative, limits.min_relative_focus, f"{name}_relative_focus"))
    texts = ["; ".join(filter(None, row)) for row in zip(*reasons, strict=True)]
    why = pd.Series(texts, index=quality.index, dtype="str")
    return quality.assign(passes=why == "", why=why)


def find_percentiles(counts: np.ndarray, percentiles: Sequence[float]) -> np.ndarray:
    """Returns ``numpy.percentile`` (linear) of pixels that are counted by grey level.

    Args:
        counts: (L,) pixels of each grey level 0 .. L - 1, not all 0.
        percentiles: in [0, 100].
    """
    last = np.cumsum(counts)
    position = np.asarray(percentiles, dtype=np.float64) / 100 * (last[-1] - 1)
    before = np.floor(position)
    low = np.searchsorted(last, before, side="right")
    high = np.searchsorted(last, np.minimum(before + 1, last[-1] - 1), side="right")
    return np.asarray(low + (high - low) * (position - before))


def find_otsu(counts: np.ndarray) -> int:
    """Returns Otsu's threshold (doi:10.1109/TSMC.1979.4310076): brighter pixels lie above it.

    Args:
        counts: (L,) pixels of each grey level 0 .. L - 1, not all 0.

    Returns:
        The grey level that parts the pixels with the greatest variance between both classes, the
        lowest of several; the only level of a constant image.
    """
    levels = np.flatnonzero(counts)
    if levels.size == 1:
        return int(levels[0])
    n_below = np.cumsum(counts[levels]).astype(np.float64)
    sum_below = np.cumsum(counts[levels] * levels).astype(np.float64)
    n_above, sum_above = n_below[-1] - n_below[:-1], sum_below[-1] - sum_below[:-1]
    apart = sum_below[:-1] / n_below[:-1] - sum_above / n_above
    return int(levels[np.argmax(n_below[:-1] * n_above * apart**2)])


def _measure_focus(plane: np.ndarray) -> float:
    """Variance of the Laplacian over the squared mean, both of 2 x 2 px means."""
    whole = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    rows = np.add(whole[::2], whole[1::2], dtype=np.float32)
    means = rows[:, ::2] + rows[:, 1::2]
    edges = means[:-2, 1:-1] + means[2:, 1:-1] + means[1:-1, :-2] + means[1:-1, 2:]
    level = means.mean(dtype=np.float64)
    if level == 0:
        return 0.0
    return float((edges - 4 * means[1:-1, 1:-1]).var(dtype=np.float64) / level**2)


def _count_levels(plane: np.ndarray) -> np.ndarray:
    return np.bincount(plane.ravel(), minlength=np.iinfo(plane.dtype).max + 1)


def _find_ceiling(dtype: np.dtype, counts: Sequence[np.ndarray]) -> int:
    brightest = max(int(np.flatnonzero(levels)[-1]) for levels in counts)
    return next(ceiling for ceiling in _CEILINGS[dtype.itemsize] if ceiling >= brightest)


def _check_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    fits = image.ndim == 3 and len(image) == 2 and min(image.shape) >= 2
    if not fits or image.dtype.kind != "u" or image.dtype.itemsize > 2:
        raise TileError(
            "image must be (2, Y, X) uint8 or uint16, DAPI and marker, got "
            f"{image.shape} {image.dtype}; pass the tile as read_tile returns it"
        )
    if min(image.shape[1:]) < _MIN_PX:
        raise TileError(
            f"image must have {_MIN_PX} px a side at least, got {image.shape[1:]}; leave it out"
        )
    return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))


def _name_low(values: pd.Series, limit: float, name: str) -> np.ndarray:
    return _name(values, values.to_numpy(dtype=float) < limit, f"is below {limit:g}", name)


def _name_high(values: pd.Series, limit: float, name: str) -> np.ndarray:
    return _name(values, values.to_numpy(dtype=float) > limit, f"is above {limit:g}", name)


def _name(values: pd.Series, is_out: np.ndarray, words: str, name: str) -> np.ndarray:
    reasons = np.full(len(values), "", dtype=object)
    # Three digits: at two, a value just outside would read as the limit itself.
    reasons[is_out] = [f"{name} {value:.3g} {words}" for value in values[is_out]]
    return reasons
