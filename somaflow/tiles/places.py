"""Where files of tiles may really lie: links, and `..` in a manifest, may lead anywhere.

Enters: the folders that a study names. Leaves: for a path that leads out of them, where it leads.
"""

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


class Places:
    """Folders in which, at any depth, files may lie."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Admits these; one that is a link stands for what it points to."""
        self._folders = {os.path.realpath(folder) for folder in folders}

    def admit(self, folder: Path) -> None:
        """Admits one more."""
        self._folders.add(os.path.realpath(folder))

    def find_stray(self, path: str | Path) -> str:
        """Where the path really leads, if that is outside; "" if it is inside."""
        real = place = _resolve(os.fspath(path))
        while place not in self._folders:
            place, former = os.path.dirname(place), place  # noqa: PTH120 - thousands of paths
            if place == former:
                return real
        return ""

    def refuse(self, path: str | Path) -> str:
        """Why a tile cannot be used for a path that leads out; "" if it stays inside."""
        real = self.find_stray(path)
        if not real:
            return ""
        return (
            f"a tile must lie in the study's tile folder, {path} leads out of it, to {real}; if "
            f"that is meant, name {Path(real).parent} (or a folder above it) in `also_in` of the "
            "study's tiles"
        )


def _resolve(path: str) -> str:
    """The real path; a file that is no link lies where its folder does."""
    if os.path.islink(path):  # noqa: PTH114
        return os.path.realpath(path)
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100
    return os.path.join(_resolve_folder(folder), name)  # noqa: PTH118


@lru_cache(maxsize=4096)
def _resolve_folder(folder: str) -> str:
    return os.path.realpath(folder)
