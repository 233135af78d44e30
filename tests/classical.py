"""`python -m tests.classical DATA [DIR]`: classical segmentation as a yardstick for nets.

DATA is a folder of real images as in `tests.real_images`. Three methods of scikit-image, as an
analyst would put them together: one threshold for the image, a local threshold, and blobs; each
splits touching cells by a watershed. A method's few parameters are chosen by F1 on the train and
val blocks of a fold; its test blocks are scored with that choice. Refuses nothing: an image without
cells gives empty labels. With DIR, the folder of `tests.real_images --folds`, it also compares the
methods with the nets trained there, image by image.
"""

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.segmentation import watershed

from somaflow.evaluation import compare, count_matches, summarise
from tests.real_images import FOLDS, read_counts, read_real_table

Labels = NDArray[np.uint32]
Parameters = Mapping[str, float]

_MIN_AREA_PX = 30
# A peak's border lies where its blob has fallen to this share of its height over the background.
_HALF = 0.5
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Method:
    """A classical way to segment, with the values of its parameters worth trying."""

    segment: Callable[..., Labels]
    grid: Mapping[str, tuple[float, ...]]

    def choices(self) -> list[dict[str, float]]:
        """Every combination of the parameters."""
        combinations = itertools.product(*self.grid.values())
        return [dict(zip(self.grid, values, strict=True)) for values in combinations]


def segment_otsu(image: NDArray[Any], sigma_px: float, factor: float, radius_px: float) -> Labels:
    """Gaussian, one threshold for the whole image, watershed of the distance transform.

    Args:
        image: (Y, X), any real dtype.
        sigma_px: of the Gaussian.
        factor: times Otsu's threshold over the darkest pixel; below 1 finds dimmer cells.
        radius_px: distance between the centres of two cells, at least.
    """
    smooth = gaussian(image.astype(np.float64), sigma_px, preserve_range=True)
    low = smooth.min()
    return _split(smooth > low + factor * (threshold_otsu(smooth) - low), radius_px)


def segment_local(
    image: NDArray[Any], sigma_px: float, n_sigmas: float, radius_px: float
) -> Labels:
    """Gaussian, a threshold over the local background, watershed of the distance transform.

    Args:
        image: (Y, X), any real dtype.
        sigma_px: of the Gaussian.
        n_sigmas: pixels this many standard deviations of the background above it are cell.
        radius_px: distance between the centres of two cells, at least.
    """
    contrast, noise = _over_background(image, sigma_px)
    return _split(contrast > n_sigmas * noise, radius_px)


def segment_blobs(
    image: NDArray[Any], sigma_px: float, n_sigmas: float, blob_radius_px: float
) -> Labels:
    """Peaks of the Laplacian of a Gaussian as seeds of a watershed down to half their height.

    Args:
        image: (Y, X), any real dtype.
        sigma_px: of the Gaussian that heights are read from.
        n_sigmas: a peak must stand out of the filtered background by so many of its standard
            deviations.
        blob_radius_px: radius of the disc that the filter answers to most.
    """
    response = -ndimage.gaussian_laplace(image.astype(np.float64), blob_radius_px / np.sqrt(2))
    peaks = peak_local_max(
        response,
        min_distance=max(1, round(blob_radius_px / 2)),
        threshold_abs=float(n_sigmas * _noise(response)),
        exclude_border=False,
    )
    contrast, _ = _over_background(image, sigma_px)
    seeds = np.zeros(contrast.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    reach = ndimage.distance_transform_edt(seeds == 0) <= 2 * blob_radius_px
    basins = watershed(-response, seeds, mask=reach & (contrast > 0))
    # One height a cell, read at its own peak.
    heights = np.concatenate([[np.inf], contrast[tuple(peaks.T)]])
    return _tidy(np.where(contrast > _HALF * heights[basins], basins, 0))


METHODS = {
    "Otsu + watershed": Method(
        segment_otsu,
        {"sigma_px": (2, 3, 5), "factor": (0.7, 1.0, 1.4, 2.0, 3.0), "radius_px": (6, 9)},
    ),
    "local threshold + watershed": Method(
        segment_local,
        {"sigma_px": (1, 2, 3), "n_sigmas": (2, 3, 4, 6), "radius_px": (4, 6, 9)},
    ),
    "LoG seeds + watershed": Method(
        segment_blobs,
        {"sigma_px": (2, 3, 4), "n_sigmas": (3, 4, 6, 9), "blob_radius_px": (6, 8, 10)},
    ),
}


def _over_background(image: NDArray[Any], sigma_px: float) -> tuple[NDArray[Any], float]:
    """The smoothed image above its local background, and that background's noise."""
    pixels = image.astype(np.float64)
    # Wider than any cell; the median of a coarse grid is not lifted by bright ones.
    coarse = ndimage.zoom(gaussian(pixels, 4, preserve_range=True), 1 / 8, order=1)
    background = ndimage.median_filter(coarse, size=11, mode="nearest")
    scale = [
        side / coarse_side for side, coarse_side in zip(image.shape, background.shape, strict=True)
    ]
    whole = ndimage.zoom(background, scale, order=1, mode="nearest", grid_mode=True)
    contrast = gaussian(pixels, sigma_px, preserve_range=True) - whole
    return contrast, _noise(contrast)


def _noise(values: NDArray[Any]) -> float:
    """Standard deviation of the background, from the median absolute deviation."""
    return float(_MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def _split(foreground: NDArray[np.bool_], radius_px: float) -> Labels:
    """Splits touching cells at the necks between peaks of the distance transform."""
    filled = ndimage.binary_fill_holes(foreground)
    distance = ndimage.distance_transform_edt(filled)
    peaks = peak_local_max(
        gaussian(distance, 1), min_distance=round(radius_px), labels=label(filled),
        exclude_border=False,
    )  # fmt: skip
    seeds = np.zeros(filled.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return _tidy(watershed(-distance, seeds, mask=filled))


def _tidy(labels: NDArray[Any]) -> Labels:
    """One part an id, nothing too small, ids 1..N."""
    parts = label(labels, connectivity=1)
    kept = np.where(np.bincount(parts.ravel())[parts] >= _MIN_AREA_PX, parts, 0)
    return np.unique(kept, return_inverse=True)[1].reshape(kept.shape).astype(np.uint32)


def score_methods(table: pd.DataFrame) -> pd.DataFrame:
    """Counts of every method on every image: tile_id donor marker method choice tp fp fn.

    Args:
        table: columns tile_id, marker, donor, dapi_path, labels_path, a row an image.
    """
    rows = []
    for tile in table.itertuples():
        image = tifffile.imread(str(tile.dapi_path))
        reference = tifffile.imread(str(tile.labels_path))
        for name, method in METHODS.items():
            for index, parameters in enumerate(method.choices()):
                counts = count_matches(reference, method.segment(image, **parameters))
                rows.append(
                    {
                        "tile_id": tile.tile_id,
                        "donor": tile.donor,
                        "marker": tile.marker,
                        "method": name,
                        "choice": index,
                        "tp": counts.tp,
                        "fp": counts.fp,
                        "fn": counts.fn,
                    }
                )
    return pd.DataFrame(rows)


def choose(counts: pd.DataFrame) -> int:
    """The choice of best pooled F1 of one method's counts; the first of equal ones."""
    sums = counts.groupby("choice")[["tp", "fp", "fn"]].sum()
    f1 = 2 * sums.tp / (2 * sums.tp + sums.fp + sums.fn).clip(lower=1)
    return int(sums.index[int(f1.to_numpy().argmax())])


def score_folds(counts: pd.DataFrame) -> pd.DataFrame:
    """Counts of the test blocks of each fold with what was chosen on its other blocks.

    Args:
        counts: from `score_methods`.

    Returns:
        Columns of `counts`, fold, and parameters (a text), a row an image, method and fold.
    """
    parts = []
    for fold, blocks in FOLDS.items():
        for name, rows in counts.groupby("method", sort=False):
            is_test = rows.donor.isin(blocks["test"])
            chosen = choose(rows[~is_test])
            test = rows[is_test & (rows.choice == chosen)]
            parameters = METHODS[str(name)].choices()[chosen]
            text = ", ".join(f"{key} {value:g}" for key, value in parameters.items())
            parts.append(test.assign(fold=fold, parameters=text))
    return pd.concat(parts, ignore_index=True)


def compare_with_nets(scored: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """F1 of each recipe of the folds' studies minus that of each method, on the same test images.

    Args:
        scored: from `score_folds`.
        folder: as given to `tests.real_images --folds`, every study run.

    Returns:
        Columns method, recipe, fold, marker ("all" over all folds), n_images, n_reference,
        f1_pooled_difference and its 95 % interval over images.
    """
    nets = []
    for fold in FOLDS:
        counts = read_counts(folder / fold / "study.yaml")
        nets.append(counts[counts.split == "test"].assign(fold=fold))
    # An image that is test in two folds was segmented by two nets: two rows, resampled as one.
    known, scored = (
        table.assign(
            tile_id=table.fold + "/" + table.tile_id, donor=table.tile_id, split_level="donor"
        )
        for table in (pd.concat(nets, ignore_index=True), scored)
    )
    parts = []
    for recipe in known.recipe.unique():
        for method in METHODS:
            ours, theirs = known[known.recipe == recipe], scored[scored.method == method]
            keys = ["fold", "marker"]
            whole = compare(theirs, ours).assign(fold="all", marker="all")
            parts.append(
                pd.concat([compare(theirs, ours, by=keys), whole]).assign(
                    method=method, recipe=recipe
                )
            )
    ends = [f"f1_pooled_difference{end}" for end in ("", "_low", "_high")]
    columns = ["method", "recipe", "fold", "marker", "n_images", "n_reference", *ends]
    return pd.concat(parts, ignore_index=True)[columns]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the scores of the methods and, where nets were trained, the differences to theirs."""
    parser = argparse.ArgumentParser(prog="python -m tests.classical", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the images and manifest.csv")
    parser.add_argument("folder", type=Path, nargs="?", help="of the folds of tests.real_images")
    options = parser.parse_args(arguments)
    images = read_real_table(options.data)
    # The nuclei set is never test, and its larger cells would only mislead the choice.
    scored = score_folds(score_methods(images[images.marker != "dsb2018"]))
    metrics = ["f1_pooled", "precision_pooled", "recall_pooled", "ap50_image_mean"]
    keys = ["method", "fold", "marker", "parameters"]
    summary = summarise(scored, by=keys)[[*keys, "n_images", "n_reference", *metrics]]
    print(summary.round(3).to_string(index=False))
    if options.folder:
        print(compare_with_nets(scored, options.folder).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
