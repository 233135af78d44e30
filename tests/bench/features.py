"""Measuring cells: somaflow.features against scikit-image."""

import numpy as np
import pandas as pd

from somaflow.features import measure_cells
from tests.bench.labels import make_ellipses
from tests.bench.timing import time_pair

SKIMAGE_PROPERTIES = (
    "label",
    "area",
    "centroid",
    "bbox",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "perimeter",
    "solidity",
    "intensity_mean",
    "intensity_std",
    "intensity_min",
    "intensity_max",
)
_RENAMED = {
    "area": "area_px",
    "centroid-0": "centroid_y_px",
    "centroid-1": "centroid_x_px",
    "bbox-0": "bbox_min_y_px",
    "bbox-1": "bbox_min_x_px",
    "bbox-2": "bbox_max_y_px",
    "bbox-3": "bbox_max_x_px",
    "axis_major_length": "axis_major_px",
    "axis_minor_length": "axis_minor_px",
    "perimeter": "perimeter_px",
}


def regionprops_frame(labels: np.ndarray, image: np.ndarray) -> pd.DataFrame:
    """Returns scikit-image's measurements under the names and in the order of `measure_cells`.

    Args:
        labels: (Y, X) integers, 0 = background.
        image: (2, Y, X), DAPI and marker.
    """
    from skimage.measure import regionprops_table

    table = pd.DataFrame(
        regionprops_table(labels, np.moveaxis(image, 0, -1), properties=SKIMAGE_PROPERTIES)
    )
    intensities = {
        f"intensity_{statistic}-{channel}": f"{name}_{statistic}"
        for channel, name in enumerate(("dapi", "marker"))
        for statistic in ("mean", "std", "min", "max")
    }
    shapes = [name for name in table if not str(name).startswith("intensity")]
    return table[[*shapes, *intensities]].rename(columns=_RENAMED | intensities)


def bench_measure_cells(n_cells: int = 580, size_px: int = 1024) -> dict[str, object]:
    """One tile's cell table, all properties on both sides."""
    labels = make_ellipses(n_cells, (size_px, size_px))
    image = np.random.default_rng(0).integers(0, 256, (2, size_px, size_px), dtype=np.uint8)
    ours, theirs = measure_cells(labels, image), regionprops_frame(labels, image)
    times = time_pair(
        lambda: measure_cells(labels, image), lambda: regionprops_frame(labels, image)
    )
    return {
        "name": "measure_cells",
        **times,
        "equal": list(ours) == list(theirs)
        and bool(np.allclose(ours, theirs, rtol=1e-9, atol=1e-9)),
        "theirs": f"skimage.measure.regionprops_table, the same properties, {n_cells} cells on "
        f"{size_px} x {size_px} px, two channels",
    }
