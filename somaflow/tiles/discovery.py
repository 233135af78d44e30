"""From a folder to the tile table: every tile found is a row, a bad one with its reason."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from somaflow.errors import StudyError
from somaflow.tiles.checks import check_headers
from somaflow.tiles.donor_tables import read_donor_table
from somaflow.tiles.flat import find_flat_tiles
from somaflow.tiles.folders import check_folder
from somaflow.tiles.manifest import find_manifest_tiles
from somaflow.tiles.places import Places
from somaflow.tiles.rosmap import find_rosmap_tiles
from somaflow.tiles.table import TileRow, build_table, spell_marker

LAYOUTS = ("rosmap", "flat", "manifest")
# A header takes 0.25 ms of one core (measured: 15,000 pairs, 8.4 s), so threads gain nothing on a
# local disk; on a cluster's file system they wait for many files at once instead of one by one.
_N_READERS = 8


def discover_tiles(
    root: Path | str,
    layout: str = "rosmap",
    markers: Sequence[str] | None = None,
    donor_table: Path | str | None = None,
    pixel_offset: int = 0,
    also_in: Sequence[Path | str] = (),
) -> pd.DataFrame:
    """The tile table of a data set, from names and file headers alone; no pixel is decoded.

    Args:
        root: folder of the tiles; for the manifest layout its CSV file or the folder of it.
        layout: "rosmap", "flat" or "manifest"; see the modules of these names.
        markers: those to use; others of the study are skipped. None = GFAP, NeuN, IBA1, OLIG2,
            and for a manifest whatever it lists.
        donor_table: CSV file with tile_id and donor, for the flat and manifest layouts.
        pixel_offset: that will be subtracted from every pixel (32768 for scanR's signed export).
        also_in: folders that tiles may really lie in besides the root, where links lead there.

    Returns:
        One row a tile, sorted by tile_id: tile_id, donor, marker, region, dapi_path, marker_path,
        height_px, width_px, status, reason, labels_path, dapi_channel, marker_channel.
        `attrs["unmatched_donor_rows"]` lists the tile_ids of the donor table that no tile has.

    Raises:
        StudyError: if the root, the manifest or the donor table cannot be read, the layout is
            unknown, or there is no tile. A single bad tile never raises: its status is "refused".
    """
    root = Path(root).absolute()
    _check_layout(layout, donor_table)
    if layout != "manifest":
        check_folder(root)
    asked = None if markers is None else tuple(spell_marker(name) for name in markers)
    donors = None if donor_table is None else read_donor_table(donor_table)
    is_file = layout == "manifest" and not root.is_dir()
    places = Places([root.parent if is_file else root, *map(Path, also_in)])
    rows, unmatched = _find_tiles(root, layout, asked, donors, places)
    with ThreadPoolExecutor(_N_READERS) as pool:
        table = build_table(pool.map(lambda row: check_headers(row, places, pixel_offset), rows))
    table.attrs["unmatched_donor_rows"] = unmatched
    return table


def _check_layout(layout: str, donor_table: Path | str | None) -> None:
    if layout not in LAYOUTS:
        raise StudyError(
            f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}; correct it in the study"
        )
    if layout == "rosmap" and donor_table is not None:
        raise StudyError(
            f"layout rosmap takes donors from its folders, got donor table {donor_table}; leave it "
            "out, or list the tiles in a manifest"
        )


def _find_tiles(
    root: Path,
    layout: str,
    markers: tuple[str, ...] | None,
    donors: dict[str, str] | None,
    places: Places,
) -> tuple[list[TileRow], list[str]]:
    if layout == "rosmap":
        return find_rosmap_tiles(root, markers, places), []
    if layout == "flat":
        return find_flat_tiles(root, markers, donors)
    return find_manifest_tiles(root, markers, donors, places)
