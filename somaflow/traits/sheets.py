"""A table of text from a CSV or TSV file, with the lines its rows came from.

Enters: a UTF-8 file whose first line names the columns, separated by commas, tabs or semicolons.
Leaves: cells as text, without outer blanks. Refuses spreadsheets, other encodings, empty files.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from somaflow.errors import StudyError
from somaflow.traits.wording import shorten

_SEPARATORS = (",", "\t", ";")
_WHAT_TO_SAVE = "save it as CSV (UTF-8)"
_SPREADSHEETS = {
    b"PK\x03\x04": "an Excel or Open Document file",
    b"\xd0\xcf\x11\xe0": "an xls file",
}


@dataclass(frozen=True)
class Sheet:
    """The text of a table."""

    columns: list[str]
    rows: list[tuple[int, list[str]]]
    """Line in the file and cells, as many as there are columns; empty lines are left out."""
    separator: str
    problems: list[str]
    """Lines whose number of cells is not that of the columns."""


def read_sheet(path: Path) -> Sheet:
    """Reads the file; a row with too many cells is left out, one with too few filled with blanks.

    Too many cells mean that a separator stands inside a value (a decimal comma without quotes), so
    that all cells behind it belong to other columns.

    Raises:
        StudyError: if it is missing, no such text, or has no row.
    """
    text = _read_text(path)
    separator = max(_SEPARATORS, key=lambda sign: len(_split_header(text, sign)))
    columns = [name.strip() for name in _split_header(text, separator)]
    rows: list[tuple[int, list[str]]] = []
    long, short = [], []
    for line, cells in _split_rows(text, separator, path):
        while len(cells) > len(columns) and not cells[-1]:
            cells.pop()  # separators that a spreadsheet puts at the end of a line
        if len(cells) > len(columns):
            long.append(line)
            continue
        if len(cells) < len(columns):
            short.append(line)
        rows.append((line, cells + [""] * (len(columns) - len(cells))))
    problems = _report_lengths(long, short, len(columns))
    if not rows:
        raise StudyError(
            f"the trait table must have a row a donor, {path} has none that can be read"
            f"{''.join(f'; {problem}' for problem in problems)}; {_WHAT_TO_SAVE} again"
        )
    return Sheet(columns, rows, separator, problems)


def _report_lengths(long: list[int], short: list[int], n_columns: int) -> list[str]:
    problems = []
    if long:
        problems.append(
            f"{len(long)} row(s) of the trait table have more cells than its {n_columns} columns "
            f"and are left out: line(s) {shorten(long)}; quote values that hold the separator"
        )
    if short:
        problems.append(
            f"{len(short)} row(s) of the trait table have fewer cells than its {n_columns} columns "
            f"and the rest counts as missing: line(s) {shorten(short)}; see that the file is whole"
        )
    return problems


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
        if "\0" in text:  # UTF-16 of plain letters, and some spreadsheets, are valid UTF-8
            raise UnicodeDecodeError("utf-8", content, 0, 1, "it holds zero bytes")
    except OSError as error:
        raise StudyError(
            f"the trait table must be a readable CSV or TSV file, {path} is not: "
            f"{error.strerror}; correct the path"
        ) from error
    except UnicodeDecodeError as error:
        kind = _SPREADSHEETS.get(content[:4], f"not UTF-8 ({error})")
        raise StudyError(
            f"the trait table must be CSV or TSV text in UTF-8, {path} is {kind}; {_WHAT_TO_SAVE}"
        ) from error
    if not text.strip():
        raise StudyError(f"the trait table must have a row a donor, {path} is empty; write it anew")
    return text


def _split_header(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error:
        return []


def _split_rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row below the header that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        next(reader)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise StudyError(
            f"the trait table must be CSV or TSV text, {path} is not in line {reader.line_num}: "
            f"{error}; {_WHAT_TO_SAVE}"
        ) from error
