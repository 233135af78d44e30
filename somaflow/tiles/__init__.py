"""Tiles as they lie on disk: a table of all that were found, and the image of each.

Enters: a folder or manifest. Leaves: one row a tile, (2, Y, X) images, (Y, X) uint32 labels.
Refuses nothing in silence: a tile that cannot be used is a row with its reason.
"""

from somaflow.tiles.discovery import LAYOUTS, discover_tiles
from somaflow.tiles.donor_tables import read_donor_table
from somaflow.tiles.reading import read_tile, read_tile_labels
from somaflow.tiles.table import (
    COLUMNS,
    KNOWN_MARKERS,
    refuse_bad_tiles,
    report_refused,
)

__all__ = [
    "COLUMNS",
    "KNOWN_MARKERS",
    "LAYOUTS",
    "discover_tiles",
    "read_donor_table",
    "read_tile",
    "read_tile_labels",
    "refuse_bad_tiles",
    "report_refused",
]
