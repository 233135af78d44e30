"""A study of many full-size tiles in the layout of the whole set, in little disk.

Some distinct tiles are drawn; every further one is a hard link to one of them, under its own path.
So everything that opens, hashes, reads, segments and writes tiles has all of its work, but reads
come from the page cache instead of a disk.
"""

import os
import shutil
from itertools import cycle
from pathlib import Path

import yaml

from somaflow.errors import OutputError, StudyError
from somaflow.files import make_folder, write_text
from somaflow.synthetic import write_study
from somaflow.synthetic.donors import draw_donors
from somaflow.synthetic.markers import MARKERS
from somaflow.synthetic.plan import PlannedTile, plan_tiles

N_DONORS = 69
N_DISTINCT = 96
FULL_TILE = (1040, 1388)
_BYTES_A_TILE = 140_000
_BYTES_A_DISTINCT_TILE = 4_000_000
# Noise leaves specks; so large, what is left are about as many objects as a tile has cells.
_RECIPE = {"name": "stand-in", "model": "threshold", "min_size_px": 60}
_SPARE_BYTES = 500_000_000


def needed_bytes(n_tiles: int) -> int:
    """Disk that a study of that many full-size tiles and its outputs take, rounded up."""
    return n_tiles * _BYTES_A_TILE + N_DISTINCT * _BYTES_A_DISTINCT_TILE + _SPARE_BYTES


def check_disk(folder: Path, sizes: list[int]) -> None:
    """Refuses to begin what cannot end.

    Raises:
        OutputError: if the disk of `folder` has less free than all sizes take together.
    """
    needed, free = sum(map(needed_bytes, sizes)), shutil.disk_usage(make_folder(folder)).free
    if free < needed:
        raise OutputError(
            f"studies of {', '.join(map(str, sizes))} tiles need {needed / 1e9:.1f} GB, the disk "
            f"of {folder} has {free / 1e9:.1f} GB free; free space or choose another --folder"
        )


def make_study(
    folder: Path, n_tiles: int, shape: tuple[int, int] = FULL_TILE, n_distinct: int = N_DISTINCT
) -> Path:
    """Writes the study and returns the path of its study.yaml; its outputs go to `folder/output`.

    Args:
        folder: of this study alone; must be new.
        n_tiles: tiles in all, dealt out over 69 donors and four markers.
        shape: (Y, X) of a tile, px.
        n_distinct: tiles that are drawn, in the folder beside; a multiple of 4, for the markers.

    Raises:
        StudyError: if the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StudyError(f"a study for scale needs a new folder, {folder} is not; remove it")
    sources = _draw_sources(folder.parent / "distinct", shape, n_distinct)
    turns = {marker: cycle(files) for marker, files in sources.items()}
    for tile in plan_tiles(draw_donors(0, N_DONORS), n_tiles):
        _link(folder, tile, next(turns[tile.marker]), shape)
    content = {
        "name": f"scale-{n_tiles}",
        "tiles": {"root": "tiles", "layout": "rosmap"},
        "output": "output",
        "recipes": [_RECIPE],
        "inference_recipe": "stand-in",
        "shard_tiles": 64,
    }
    write_text(folder / "study.yaml", yaml.safe_dump(content, sort_keys=False))
    return folder / "study.yaml"


def _draw_sources(
    folder: Path, shape: tuple[int, int], n_distinct: int
) -> dict[str, list[tuple[Path, Path]]]:
    """DAPI and marker file of each drawn tile, by marker."""
    height_px, width_px = shape
    n_donors = n_distinct // len(MARKERS)
    write_study(folder, n_donors, n_distinct, 0, height_px, width_px, labelled_tiles=0)
    sources: dict[str, list[tuple[Path, Path]]] = {marker: [] for marker in MARKERS}
    for tile in plan_tiles(draw_donors(0, n_donors), n_distinct):
        first, second = tile.file_names(*shape)
        place = folder / tile.folder
        sources[tile.marker].append((place / first, place / second))
    return sources


def _link(
    folder: Path, tile: PlannedTile, source: tuple[Path, Path], shape: tuple[int, int]
) -> None:
    place = folder / tile.folder
    place.mkdir(parents=True)
    for file, name in zip(source, tile.file_names(*shape), strict=True):
        os.link(file, place / name)
        os.link(f"{file}_metadata.xml", place / f"{name}_metadata.xml")
