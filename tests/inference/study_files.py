"""Small tiles on disk and a segmenter that needs no network, for tests of files and order."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile
from scipy import ndimage

from somaflow.recipes import Recipe


class ThresholdSegmenter:
    """Cells are connected bright pixels of the marker; one line a tile is written to `log`."""

    device = "cpu"

    def __init__(self, log: Path | None = None) -> None:
        self.log = log

    def segment(
        self, tiles: list[npt.NDArray[Any]], recipe: Recipe
    ) -> list[npt.NDArray[np.uint32]]:
        if self.log is not None:
            with self.log.open("a") as handle:
                handle.write(f"{int(tiles[0].sum())}\n")
        return [ndimage.label(tile[1] > 128)[0].astype(np.uint32) for tile in tiles]


class BrokenSegmenter(ThresholdSegmenter):
    """Fails on every tile."""

    def segment(
        self, tiles: list[npt.NDArray[Any]], recipe: Recipe
    ) -> list[npt.NDArray[np.uint32]]:
        raise RuntimeError("no kernel image is available")


def draw_squares(seed: int, height_px: int, width_px: int, n_cells: int) -> npt.NDArray[np.uint8]:
    """A marker plane with `n_cells` separate 6 x 6 squares of 200 on noise below 50."""
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, 50, (height_px, width_px), dtype=np.uint8)
    places = [(y, x) for y in range(2, height_px - 8, 10) for x in range(2, width_px - 8, 10)]
    for place in rng.choice(len(places), n_cells, replace=False):
        y, x = places[place]
        plane[y : y + 6, x : x + 6] = 200
    return plane


def write_tiles(
    folder: Path, n_tiles: int, shapes: tuple[tuple[int, int], ...] = ((64, 80), (48, 96))
) -> Path:
    """Writes tiles with 3, 4, 5 ... cells (every fifth has none) and returns their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(n_tiles):
        height_px, width_px = shapes[number % len(shapes)]
        n_cells = 0 if number % 5 == 4 else 3 + number % 7
        dapi, marker = folder / f"t{number:03d}_dapi.tif", folder / f"t{number:03d}_marker.tif"
        tifffile.imwrite(dapi, draw_squares(1000 + number, height_px, width_px, 4))
        tifffile.imwrite(marker, draw_squares(number, height_px, width_px, n_cells))
        rows.append((f"t{number:03d}", f"d{number % 3}", "GFAP", dapi.name, marker.name))
    manifest = folder / "manifest.csv"
    columns = ["tile_id", "donor", "marker", "dapi_path", "marker_path"]
    pd.DataFrame(rows, columns=columns).to_csv(manifest, index=False)
    return manifest


def tree_digest(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
