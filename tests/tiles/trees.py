"""Small data sets in each layout, built in a temporary folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

DAPI = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
MARKER = DAPI[::-1].copy()


def write_snap(
    root: Path,
    marker: str = "GFAP",
    projid: str = "00900001",
    region: str = "Grey",
    snap: int = 101,
    names: tuple[str, str] = ("b0c0", "b0c1"),
) -> Path:
    """Writes one tile of the rosmap layout with its metadata files, and returns its folder.

    Args:
        root: of the layout.
        marker: both marker folders.
        projid: donor folder.
        region: region folder.
        snap: snap number.
        names: middle of the file names of DAPI and marker; "" leaves the file out.
    """
    region_folder = root / marker / marker / projid / region
    folder = region_folder / f"Snap-{snap}.tiff_files"
    folder.mkdir(parents=True)
    (region_folder / f"Snap-{snap}.tiff_metadata.xml").write_text("<x/>")
    for name, grey in zip(names, (DAPI, MARKER), strict=True):
        if name:
            path = folder / f"Snap-{snap}_{name}x0-20y0-12.tiff"
            tifffile.imwrite(path, np.dstack([grey] * 3), photometric="rgb")
            path.with_name(f"{path.name}_metadata.xml").write_text("<x/>")
    return folder


def write_flat_tile(root: Path, stem: str, ending: str = ".tiff", labels: bool = False) -> None:
    """Writes one tile of the flat layout."""
    root.mkdir(exist_ok=True)
    tifffile.imwrite(root / f"{stem}{ending}", DAPI)
    tifffile.imwrite(root / f"{stem}_marker{ending}", MARKER)
    if labels:
        cells = np.zeros(DAPI.shape, np.uint16)
        cells[2:6, 2:6] = 1
        np.save(root / f"{stem}_cellbodies.npy", cells)


def get_row(table: pd.DataFrame, tile_id: str) -> pd.Series:
    """The one row of a tile."""
    rows = table[table["tile_id"] == tile_id]
    assert len(rows) == 1, f"{tile_id} is not one of {list(table['tile_id'])}"
    return rows.iloc[0]
