"""Looking into folders: one pass, names only, and a clear word where there is nothing to find."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from somaflow.errors import StudyError

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
    """

    folder: Path
    files: list[str]
    folders: list[str]
    fault: str = ""


def walk_folders(root: Path) -> Iterator[Listing]:
    """Every folder under `root`, and `root` itself, in the order of their paths."""
    waiting = [root]
    while waiting:
        listing = list_folder(waiting.pop())
        waiting.extend(listing.folder / name for name in reversed(listing.folders))
        yield listing


def list_folder(folder: Path) -> Listing:
    """The names in `folder`, or the reason why they cannot be told."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry.name)
                elif not entry.name.startswith(".") and not _leads_back(entry):
                    folders.append(entry.name)
    except OSError as error:
        fault = (
            f"every folder of the tiles must be readable, {folder} is not: {error.strerror}; "
            "change its permissions or take it out"
        )
        return Listing(folder, [], [], fault)
    return Listing(folder, sorted(files), sorted(folders))


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether a link points to a folder that it lies in: following it would never end."""
    if not entry.is_symlink():
        return False
    place = Path(entry.path).parent.resolve()
    return Path(entry.path).resolve() in (place, *place.parents)


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
