"""Making the tile table, compared with opening each image whole as scripts do."""

import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from somaflow.tiles import discover_tiles

_SHAPE = (1040, 1388)  # px, as the study's tiles


def compare_discovery(n_tiles: int = 100, seed: int = 0) -> dict[str, Any]:
    """Returns one bench row: seconds to find and check `n_tiles` pairs, against reading them.

    Args:
        n_tiles: tiles of 1040 x 1388 px, uncompressed grey stored as RGB, two files each.
        seed: of the pixels.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = _write_tiles(root, n_tiles, seed)
        _read_whole(paths)  # both sides then read from the page cache
        start_s = time.perf_counter()
        table = discover_tiles(root)
        ours_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        shapes = _read_whole(paths)
        theirs_s = time.perf_counter() - start_s
    found = list(zip(table["height_px"], table["width_px"], strict=True))
    return {
        "name": f"tile table of {n_tiles} tiles",
        "ours_s": ours_s,
        "theirs_s": theirs_s,
        "ratio": theirs_s / ours_s,
        "equal": found == shapes and bool((table["status"] == "ok").all()),
        "theirs": "tifffile.imread of each channel, shapes compared",
        "machine": platform.platform(),
    }


def _write_tiles(root: Path, n_tiles: int, seed: int) -> list[tuple[Path, Path]]:
    grey = np.random.default_rng(seed).integers(0, 256, _SHAPE, np.uint8)
    source = root / "source.bin"
    tifffile.imwrite(source, np.dstack([grey] * 3), photometric="rgb")
    pairs = []
    for number in range(n_tiles):
        snap = f"Snap-{number:05d}"
        folder = root / "GFAP" / "GFAP" / "00000001" / "Grey" / f"{snap}.tiff_files"
        folder.mkdir(parents=True)
        dapi, marker = (folder / f"{snap}_b0c{c}x0-1388y0-1040.tiff" for c in (0, 1))
        for path in (dapi, marker):
            path.hardlink_to(source)  # a hundred tiles in the space of one
            path.with_name(f"{path.name}_metadata.xml").touch()
        pairs.append((dapi, marker))
    return pairs


def _read_whole(pairs: list[tuple[Path, Path]]) -> list[tuple[int, int]]:
    shapes = []
    for dapi, marker in pairs:
        images = [tifffile.imread(path) for path in (dapi, marker)]
        if images[0].shape != images[1].shape:
            raise ValueError(f"{dapi} and {marker} differ in shape")
        shapes.append(images[0].shape[:2])
    return shapes
