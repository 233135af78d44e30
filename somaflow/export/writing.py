"""Checks all chosen tiles, then writes their images one by one, each whole or not at all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from somaflow.errors import BadInputError, OutputError, SomaflowError
from somaflow.export.selection import Selection, find_key, find_unsegmented, select_rows
from somaflow.export.source import Source
from somaflow.files import sweep_temporaries, write_folder
from somaflow.ledger import read_plan
from somaflow.paths import RunPaths, exported_image
from somaflow.tiles.table import make_safe

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ExportedTile:
    """One tile as OME-Zarr.

    Attributes:
        tile_id: of the tile.
        path: folder of its image.
        written: False if the very same files were there already.
    """

    tile_id: str
    path: Path
    written: bool


@dataclass(frozen=True)
class Export:
    """What became of the chosen tiles.

    Attributes:
        key: of the inference whose labels they have.
        tiles: the exported ones, in order of donor, region and tile_id.
        left_out: why tiles were left out, by tile_id.
    """

    key: str
    tiles: tuple[ExportedTile, ...]
    left_out: dict[str, str]


def export_tiles(
    paths: RunPaths,
    folder: Path,
    selection: Selection,
    pixel_size_um: float | None = None,
    progress: Progress | None = None,
) -> Export:
    """Writes chosen tiles as OME-Zarr 0.5 images `<folder>/<donor>/<region>/<tile_id>.ome.zarr`.

    Every tile is read twice: all are checked before the first is written.

    Args:
        paths: of the study.
        folder: made if absent.
        selection: which tiles of which inference.
        pixel_size_um: side of a pixel; None = unknown.
        progress: called with steps done and steps in all.

    Raises:
        StoreError: if the study has no inference.
        BadInputError: one line for each problem; nothing was written.
        OutputError: if the disk is full or not writable; tiles written so far are whole.
    """
    key = find_key(paths, selection.key)
    rows, problems = select_rows(read_plan(paths, key), selection)
    unsegmented = find_unsegmented(paths, key, rows)
    if not selection.skip_unsegmented:
        problems += unsegmented.values()
    problems += _check_pixel_size(pixel_size_um)
    rows = rows[~rows["tile_id"].isin(list(unsegmented))]
    jobs = _list_jobs(rows, folder)
    source = Source(paths, key, pixel_size_um)
    there, faults = _check_jobs(source, jobs, progress)
    _refuse(problems + faults)
    _sweep({job.path.parent for job in jobs})
    return Export(key, tuple(_write_jobs(source, jobs, there, progress)), unsegmented)


@dataclass(frozen=True)
class _Job:
    row: Any
    path: Path


def _list_jobs(rows: pd.DataFrame, folder: Path) -> list[_Job]:
    ordered = rows.sort_values(["donor", "region", "tile_id"])
    jobs = []
    row: Any
    for row in ordered.itertuples():
        donor, region = (make_safe(name) if name else "" for name in (row.donor, row.region))
        jobs.append(_Job(row, exported_image(folder, donor, region, row.tile_id)))
    return jobs


def _check_jobs(
    source: Source, jobs: list[_Job], progress: Progress | None
) -> tuple[set[str], list[str]]:
    """Ids of the tiles that are there already, and a line for each that cannot be exported."""
    there, problems = set(), []
    for done, job in enumerate(jobs, start=1):
        try:
            if _is_there(source, job):
                there.add(job.row.tile_id)
        except SomaflowError as error:
            problems.append(str(error))  # raised with all the others
        if progress is not None:
            progress(done, 2 * len(jobs))
    return there, problems


def _write_jobs(
    source: Source, jobs: list[_Job], there: set[str], progress: Progress | None
) -> Iterator[ExportedTile]:
    for done, job in enumerate(jobs, start=1):
        tile_id = job.row.tile_id
        if tile_id not in there:
            write_folder(job.path, source.encode(job.row))
        if progress is not None:
            progress(len(jobs) + done, 2 * len(jobs))
        yield ExportedTile(tile_id, job.path, written=tile_id not in there)


def _is_there(source: Source, job: _Job) -> bool:
    """Whether the very files of this tile lie at its place; False if nothing lies there.

    Raises:
        OutputError: if something else does.
        TileError: if the tile's image cannot be exported.
    """
    if not job.path.exists():
        source.read(job.row)
        return False
    found = {
        path.relative_to(job.path).as_posix(): path.read_bytes()
        for path in job.path.rglob("*")
        if path.is_file()
    }
    expected = source.encode(job.row)
    if found == expected:
        return True
    names = sorted(
        name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
    )
    raise OutputError(
        f"an exported image is never overwritten, {job.path} holds something else than "
        f"{job.row.tile_id} of inference {source.key} (first {names[0] if names else 'a file'}); "
        "move it away or choose another folder"
    )


def _check_pixel_size(pixel_size_um: float | None) -> list[str]:
    if pixel_size_um is None or 0 < pixel_size_um < float("inf"):
        return []
    return [f"pixel size must be above 0 um, got {pixel_size_um}; give the side of a pixel in um"]


def _refuse(problems: list[str]) -> None:
    if len(problems) == 1:
        raise BadInputError(f"{problems[0]}; nothing was written")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise BadInputError(f"{len(problems)} problems, nothing was written:\n{lines}")


def _sweep(folders: set[Path]) -> None:
    for folder in folders:
        sweep_temporaries(folder, recursive=False)
