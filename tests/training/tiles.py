"""A small prepared folder of blobs in noise, for trainings that take seconds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from somaflow.preparation import PREPARED_COLUMNS
from tests.bench.labels import make_ellipses

SIDE_PX = 96


def write_tiles(
    folder: Path,
    n_cells: Sequence[int] = (8, 9, 7, 8),
    n_val: int = 2,
    side_px: int = SIDE_PX,
    markers: Sequence[str] = ("GFAP", "NeuN"),
) -> pd.DataFrame:
    """Returns the table of a prepared folder.

    Train tiles are t00, t01, ... with so many cells, val tiles v00, v01, ... with 8; all differ in
    pixels and labels.

    Args:
        folder: made if absent.
        n_cells: of each train tile.
        n_val: val tiles.
        side_px: height; tiles are 8 px wider.
        markers: given to the tiles in turn.
    """
    counts = [*n_cells, *[8] * n_val]
    names = [f"t{i:02d}" for i in range(len(n_cells))] + [f"v{i:02d}" for i in range(n_val)]
    rows = []
    for index, (name, count) in enumerate(zip(names, counts, strict=True)):
        shape = (side_px, side_px + 8)
        labels = make_ellipses(count, shape, radius_px=(4, 9), seed=index) if count else None
        labels = np.zeros(shape, np.int32) if labels is None else labels
        split = "train" if name.startswith("t") else "val"
        (folder / split).mkdir(parents=True, exist_ok=True)
        image = _draw_image(labels, seed=index)
        tifffile.imwrite(folder / split / f"{name}.tif", image, photometric="minisblack")
        tifffile.imwrite(folder / split / f"{name}_masks.tif", labels.astype(np.uint16))
        places = (split, "donor", f"{split}/{name}.tif", f"{split}/{name}_masks.tif")
        rows.append((name, name, markers[index % len(markers)], *places, count, *shape))
    return pd.DataFrame(rows, columns=list(PREPARED_COLUMNS))


def ids(table: pd.DataFrame, split: str) -> list[str]:
    """Tile ids of a split."""
    return table.loc[table.split == split, "tile_id"].tolist()


def _draw_image(labels: np.ndarray, seed: int) -> np.ndarray:
    """(3, Y, X) uint16: DAPI is noise, the marker shows the cells, the third plane is 0."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 400, (2, *labels.shape))
    noise[1] += 600 * (labels > 0)
    return np.stack([*noise, np.zeros_like(labels)]).astype(np.uint16)
