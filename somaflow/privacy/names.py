"""What must not be told of a study: the ids of its donors, the cells of its trait table.

Enters: a `Study`. Leaves: every spelling of an id that its files hold, and every cell of the trait
table. Refuses nothing: a file that cannot be read is its own reader's matter.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import yaml

from somaflow.errors import StudyError
from somaflow.schema import TILES
from somaflow.stamps import read_table
from somaflow.study import Study, TileSource
from somaflow.tiles.folders import list_folder
from somaflow.tiles.places import Places
from somaflow.tiles.table import KNOWN_MARKERS, MARKERS_WITHOUT_CELL_BODIES
from somaflow.traits import load_codebook
from somaflow.traits.sheets import Sheet, read_sheet

# In the layout rosmap the donor's folder is the third; a misplaced one may be a level off.
_DONOR_DEPTH, _DEEPEST = 3, 4
_NO_DONORS = {
    name.casefold() for name in ("grey", "white", *KNOWN_MARKERS, *MARKERS_WITHOUT_CELL_BODIES)
}
_REGISTERED = re.compile(r"[^\W\d_]+[-_ ]?\d{4,}")
_COLUMNS = {"donor", "tile_id", "marker", "tiles", "dapi_path", "marker_path"}


def find_donor_names(study: Study) -> set[str]:
    """Every spelling of a donor's id in folders, tables and former results of the study."""
    names: set[str] = set()
    for source in filter(None, (study.tiles, study.labelled)):
        names |= _names_of_source(source)
    names |= _column(study.donor_statistics.expected_tiles, "donor")
    names |= _column(study.traits, _id_column(study)) | _other_ids(study.traits)
    for path in filter(None, (study.splits.file, study.paths.splits)):
        names |= _split_donors(path)
    names |= _tile_donors(study.paths.tiles)
    return {name for name in map(str.strip, names) if name}


def find_trait_cells(study: Study) -> set[str]:
    """The text of every cell of the trait table but the ids; without a header, of its first line.

    A table that lacks the column of ids has no header that is known as one.
    """
    sheet = _read(study.traits)
    if sheet is None:
        return set()
    place = _find_place(sheet, _id_column(study))
    cells = {cell for _, row in sheet.rows for column, cell in enumerate(row) if column != place}
    return (cells | (set(sheet.columns) if place is None else set())) - {""}


def _names_of_source(source: TileSource) -> set[str]:
    names = _column(source.donor_table, "donor")
    if source.layout == "rosmap":
        names |= _folder_names(source.root, Places([source.root, *source.also_in]))
    elif source.layout == "manifest":
        is_folder = source.root.is_dir()
        names |= _column(source.root / "manifest.csv" if is_folder else source.root, "donor")
    return names


def _folder_names(root: Path, places: Places) -> set[str]:
    """Names of donors' folders, and of whatever looks like one at another depth."""
    names: set[str] = set()
    folders = [root]
    for depth in range(1, _DEEPEST + 1):
        listings = [list_folder(folder, places) for folder in folders]
        folders = [listing.folder / name for listing in listings for name in listing.folders]
        names |= {
            folder.name for folder in folders if depth == _DONOR_DEPTH or folder.name.isdigit()
        }
    return {name for name in names if name.casefold() not in _NO_DONORS}


def _column(path: Path | None, column: str) -> set[str]:
    """The cells of one column; of a table without any header, all that could be ids."""
    sheet = _read(path)
    if sheet is None:
        return set()
    place = _find_place(sheet, column)
    if place is not None:
        return {row[place] for _, row in sheet.rows}
    if {name.casefold() for name in sheet.columns} & _COLUMNS:
        return set()
    cells = [*sheet.columns, *(cell for _, row in sheet.rows for cell in row)]
    return {cell for cell in cells if cell.isdigit() and len(cell) >= _DEEPEST}


def _other_ids(traits: Path | None) -> set[str]:
    """Cells of the trait table that are an id of another register, such as R1234567."""
    sheet = _read(traits)
    rows = sheet.rows if sheet is not None else []
    return {cell for _, row in rows for cell in row if _REGISTERED.fullmatch(cell)}


def _find_place(sheet: Sheet, column: str) -> int | None:
    names = [name.casefold() for name in sheet.columns]
    return names.index(column.casefold()) if column.casefold() in names else None


def _read(path: Path | None) -> Sheet | None:
    try:
        return None if path is None else read_sheet(path)
    except StudyError:
        return None


def _id_column(study: Study) -> str:
    try:
        return load_codebook(study.donor_statistics.codebook).id_column
    except StudyError:
        return load_codebook().id_column


def _split_donors(path: Path) -> set[str]:
    try:
        # BaseLoader leaves every scalar a text, and builds nothing else.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        units: Iterable[object] = content["donors"].values()
        return {name for side in units if isinstance(side, list) for name in side}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return set()


def _tile_donors(path: Path) -> set[str]:
    try:
        return set(read_table(TILES, path, columns=["donor"])["donor"].astype(str))
    except (OSError, ValueError, KeyError):
        return set()
