"""Who may look at files."""

import os
import stat
from pathlib import Path


def open_to_others(folder: Path) -> list[str]:
    """Files and folders in `folder` that others than their owner may read, write or enter."""
    found = []
    for place, folders, files in os.walk(folder):
        for path in [Path(place, name) for name in (*folders, *files)]:
            mode = stat.S_IMODE(path.lstat().st_mode)
            if mode & 0o077 and not path.is_symlink():
                found.append(f"{mode:o} {path}")
    return found
