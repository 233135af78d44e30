"""Looking into folders: one pass, names only, and a clear word where there is nothing to find."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from somaflow.errors import StudyError
from somaflow.tiles.places import Places

_MOST_NAMES_SHOWN = 5
_TIFF_ENDINGS = (".tif", ".tiff")


def is_tiff_name(name: str) -> bool:
    """Whether a file name is a TIFF's: `x.tiff_metadata.xml` and macOS's `._x.tiff` are not."""
    return name.lower().endswith(_TIFF_ENDINGS) and not name.startswith(".")


def check_folder(root: Path) -> None:
    """Refuses a root that is not a folder.

    Raises:
        StudyError: if it is missing or a file.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise StudyError(f"the tile folder must be a folder, {root} {found}; correct the path")


@dataclass(frozen=True)
class Listing:
    """The names in one folder, sorted; hidden folders are left out.

    Attributes:
        folder: the folder.
        files: names of its files.
        folders: names of its folders.
        fault: why it could not be listed, on one line; "" if it was.
        strays: why links in it are not followed, by name: they lead out of where tiles may lie.
    """

    folder: Path
    files: list[str]
    folders: list[str]
    fault: str = ""
    strays: dict[str, str] = field(default_factory=dict)


def walk_folders(root: Path, places: Places) -> Iterator[Listing]:
    """Every folder under `root`, and `root` itself, in the order of their paths."""
    waiting = [root]
    while waiting:
        listing = list_folder(waiting.pop(), places)
        waiting.extend(listing.folder / name for name in reversed(listing.folders))
        yield listing


def list_folder(folder: Path, places: Places | None = None) -> Listing:
    """The names in `folder`, or the reason why they cannot be told.

    Args:
        folder: to list.
        places: links to folders outside of them are no folders; None = all are.
    """
    files, folders, strays = [], [], {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry.name)
                elif entry.name.startswith(".") or _leads_back(entry):
                    continue
                elif places is not None and (fault := _leads_out(entry, places)):
                    strays[entry.name] = fault
                else:
                    folders.append(entry.name)
    except OSError as error:
        fault = (
            f"every folder of the tiles must be readable, {folder} is not: {error.strerror}; "
            "change its permissions or take it out"
        )
        return Listing(folder, [], [], fault)
    return Listing(folder, sorted(files), sorted(folders), strays=strays)


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether a link points to a folder that it lies in: following it would never end."""
    if not entry.is_symlink():
        return False
    place = Path(entry.path).parent.resolve()
    return Path(entry.path).resolve() in (place, *place.parents)


def _leads_out(entry: os.DirEntry[str], places: Places) -> str:
    return places.refuse(entry.path) if entry.is_symlink() else ""


def no_tiles(root: Path, layout: str, expected: str) -> StudyError:
    """The error for a root in which a layout finds nothing.

    Args:
        root: where was looked.
        layout: its name.
        expected: what the layout looks like.
    """
    listing = list_folder(root)
    if listing.fault:
        return StudyError(listing.fault)
    names = [f"{name}/" for name in listing.folders] + listing.files
    shown = ", ".join(names[:_MOST_NAMES_SHOWN]) or "nothing"
    more = f" and {len(names) - _MOST_NAMES_SHOWN} more" if len(names) > _MOST_NAMES_SHOWN else ""
    return StudyError(
        f"layout {layout} expects {expected}, found no tile in {root}, which holds {shown}{more}; "
        "correct the path or the layout"
    )
