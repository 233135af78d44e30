"""Which donor a tile is from, where no folder says so: a CSV file with tile_id and donor."""

import csv
from pathlib import Path

from somaflow.errors import StudyError


def read_csv(path: Path, required: tuple[str, ...], what: str) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every row of a CSV file, all as text without outer blanks.

    Args:
        path: a comma-separated UTF-8 file with a header line.
        required: columns that must be there; others are kept.
        what: name of the file for messages, such as "manifest".

    Raises:
        StudyError: if it is missing, not such a file, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [(reader.line_num, _strip(row)) for row in reader]
    except OSError as error:
        raise StudyError(
            f"the {what} must be a readable CSV file, {path} is not: {error.strerror}; "
            "correct the path"
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise StudyError(
            f"the {what} must be comma-separated UTF-8 text, {path} is not: {error}; "
            "save it as CSV (UTF-8)"
        ) from error
    missing = [name for name in required if name not in columns]
    if missing:
        raise StudyError(
            f"the {what} must have columns {', '.join(required)}, {path} lacks "
            f"{', '.join(missing)} and has {', '.join(columns) or 'none'}; add them, separated by "
            "commas"
        )
    return rows


def _strip(row: dict[str | None, str | list[str] | None]) -> dict[str, str]:
    """Cells without outer blanks; a cell missing at the end of its line is empty."""
    return {
        name: value.strip() if isinstance(value, str) else ""
        for name, value in row.items()
        if name is not None
    }


def read_donor_table(path: Path | str) -> dict[str, str]:
    """Donor by tile_id, both as text, so that leading zeros stay.

    Args:
        path: CSV file with the columns tile_id and donor; others are ignored.

    Raises:
        StudyError: if it is unreadable, lacks a column, or gives one tile two donors.
    """
    path = Path(path)
    donors: dict[str, str] = {}
    for line, row in read_csv(path, ("tile_id", "donor"), "donor table"):
        tile_id, donor = row.get("tile_id", ""), row.get("donor", "")
        if donors.setdefault(tile_id, donor) != donor:
            raise StudyError(
                f"a tile must have one donor, {path} gives {tile_id!r} both {donors[tile_id]!r} "
                f"and {donor!r} (line {line}); correct it"
            )
    donors.pop("", None)
    return donors
