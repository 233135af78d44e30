"""Layout «flat»: a labelled set in one folder, as annotators keep it.

`gfap_6390.tiff` is DAPI, `gfap_6390_marker.tiff` the marker, `gfap_6390_cellbodies.npy` the labels
(also .tif, .tiff, .png or a RoiSet .zip; optional). `gfap_6390_dapimultimask.*` is ignored. The
number is the microscope's snap number and never a donor: donors come from a table alone.
"""

import re
from collections import defaultdict
from pathlib import Path

from somaflow.tiles.folders import is_tiff_name, list_folder, no_tiles
from somaflow.tiles.table import (
    TileRow,
    make_safe,
    select_marker,
    spell_marker,
)

EXPECTED = "gfap_6390.tiff (DAPI), gfap_6390_marker.tiff and optionally gfap_6390_cellbodies.npy"
_TILE_NAME = re.compile(r"(?P<marker>[A-Za-z0-9]+)_(?P<snap>\d+[A-Za-z0-9]*)")
_LABEL_ENDINGS = (".npy", ".tif", ".tiff", ".png", ".zip")
_ROLES = {"_marker": "marker", "_cellbodies": "labels", "_dapimultimask": ""}


def find_flat_tiles(
    root: Path, markers: tuple[str, ...] | None, donors: dict[str, str] | None
) -> tuple[list[TileRow], list[str]]:
    """A row for every tile in the folder itself (its subfolders are not looked into).

    Args:
        root: the folder.
        markers: those asked for, canonically spelled; None = GFAP, NeuN, IBA1, OLIG2.
        donors: donor by tile_id; None = no table, every donor is "".

    Returns:
        The rows, and the tile_ids of the donor table that match none of them.

    Raises:
        StudyError: if there is no tile.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in list_folder(root).files:
        stem, role = _split_name(name)
        if role:
            found[stem][role].append(name)
    if not found:
        raise no_tiles(root, "flat", EXPECTED)
    known = None if donors is None else {_lower_prefix(key): value for key, value in donors.items()}
    rows = [_make_row(root, stem, roles, markers, known) for stem, roles in found.items()]
    matched = {row.tile_id for row in rows}
    unmatched = sorted(key for key in donors or {} if _lower_prefix(key) not in matched)
    return rows, unmatched


def _split_name(name: str) -> tuple[str, str]:
    """Tile stem and role ("dapi", "marker", "labels") of a file; no role if it is none of these."""
    path = Path(name)
    for ending, role in _ROLES.items():
        if path.stem.lower().endswith(ending) and not name.startswith("."):
            endings_fit = role != "labels" or path.suffix.lower() in _LABEL_ENDINGS
            is_role = endings_fit and (role != "marker" or is_tiff_name(name))
            return _lower_prefix(path.stem[: -len(ending)]), role if is_role else ""
    return _lower_prefix(path.stem), "dapi" if is_tiff_name(name) else ""


def _lower_prefix(stem: str) -> str:
    prefix, underscore, rest = stem.partition("_")
    return f"{prefix.lower()}{underscore}{rest}"


def _make_row(
    root: Path,
    stem: str,
    roles: dict[str, list[str]],
    markers: tuple[str, ...] | None,
    donors: dict[str, str] | None,
) -> TileRow:
    paths = {role: str(root / names[0]) for role, names in roles.items() if len(names) == 1}
    match = _TILE_NAME.fullmatch(stem)
    row = TileRow(
        tile_id=make_safe(stem),
        donor=(donors or {}).get(stem, ""),
        marker=spell_marker(match["marker"], markers) if match else "",
        dapi_path=paths.get("dapi", ""),
        marker_path=paths.get("marker", ""),
        labels_path=paths.get("labels", ""),
    )
    if match is None:
        return row.refused(
            f"a file of the flat layout must be named as in {EXPECTED}, found "
            f"{_name_all(roles)} in {root}; rename it or take it out"
        )
    row = select_marker(row, markers, f"{_name_all(roles)} in {root}")
    return row.refused(reason) if (reason := _find_fault(row, root, roles, donors)) else row


def _find_fault(
    row: TileRow, root: Path, roles: dict[str, list[str]], donors: dict[str, str] | None
) -> str:
    """What is wrong with a tile's files or donor; "" if nothing is."""
    for role, names in roles.items():
        if len(names) > 1:
            return (
                f"a tile must have one {role} file, found {' and '.join(names)} in {root}; "
                "take out all but one"
            )
    for role, name in (("dapi", f"{row.tile_id}.tiff"), ("marker", f"{row.tile_id}_marker.tiff")):
        if role not in roles:
            return (
                f"a tile must have a DAPI and a marker image, found {_name_all(roles)} in {root} "
                f"and no {name}; add it or take the tile out"
            )
    if donors is not None and not row.donor:
        return (
            f"every tile must be in the donor table, found no donor for {row.tile_id} "
            f"({_name_all(roles)}); add its line or take the tile out"
        )
    return ""


def _name_all(roles: dict[str, list[str]]) -> str:
    return " and ".join(name for names in roles.values() for name in names)
