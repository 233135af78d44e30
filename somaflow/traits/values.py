"""Text of one column of a trait table to values, with the fate of every cell counted.

Enters: the cells of a column and what the codebook says of it. Leaves: float64 (text for a
category), NaN where there is no value, and what became of each cell. Nothing is guessed: what is
no number, and not in the codebook, is missing and counted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from somaflow.traits.codebook import Derived, TraitColumn

Fate = Literal["value", "top", "blank", "code", "unreadable", "outside"]
BLANKS = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "."})
"""Texts (in small letters) that mean «no value» in any column."""
# Python's own float() also takes "inf", "nan" and "1_000".
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_WHOLE = re.compile(r"(\d+)\.0*", re.ASCII)
_N_EXAMPLES = 3


@dataclass(frozen=True)
class ColumnValues:
    """The values of a column and how they came about."""

    values: pd.Series
    """float64, or text for a category; NaN = missing."""
    fates: tuple[Fate, ...]
    """What became of each cell."""
    cells: tuple[str, ...]
    """The text of each cell."""
    n_decimal_comma: int = 0
    """Cells read with a comma for a decimal point."""

    def count(self, *fates: Fate) -> int:
        """Cells that met one of these fates."""
        return sum(fate in fates for fate in self.fates)

    def examples(self, *fates: Fate) -> str:
        """The first few different texts of such cells, quoted; "" if there is none."""
        found = [cell for cell, fate in zip(self.cells, self.fates, strict=True) if fate in fates]
        return ", ".join(f'"{cell}"' for cell in list(dict.fromkeys(found))[:_N_EXAMPLES])


def parse_number(text: str) -> float | None:
    """The finite number that `text` spells with a decimal point; None if it spells none."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text) + 0.0  # no "-0.0", which prints otherwise than 0
    return number if np.isfinite(number) else None


def canonical(text: str) -> str:
    """One spelling for texts that mean the same: 6, 6.0 and " 6"; "90+" and "90 +"."""
    squeezed = "".join(text.split()).casefold()
    number = parse_number(squeezed)
    return squeezed if number is None else repr(number)


def drop_decimals(text: str) -> str:
    """`text` without the ".0" that a numeric read appends to whole numbers; zeros in front stay."""
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def is_blank(text: str) -> bool:
    """Whether `text` is empty or one of the usual words for «no value»."""
    return text.strip().casefold() in BLANKS


def read_values(
    cells: Sequence[str], column: TraitColumn, is_comma_decimal: bool = False
) -> ColumnValues:
    """Reads a column of text.

    Args:
        cells: text of each cell, without outer blanks.
        column: what the codebook says of it.
        is_comma_decimal: the file is one in which a comma is the decimal sign (it separates cells
            by semicolons). Otherwise a column of "1,234" alone is not read, since that may be a
            thousand; with "0,5" in the same column it is.
    """
    codes = _Codes(column)
    if column.kind == "category":
        read = [_read_category(cell, codes) for cell in cells]
        values = pd.Series([value for value, _ in read], dtype=object).infer_objects()
        return ColumnValues(values, tuple(fate for _, fate in read), tuple(cells))
    has_commas = _has_decimal_commas(cells, is_comma_decimal)
    commas = [has_commas and bool(_COMMA_NUMBER.fullmatch(cell)) for cell in cells]
    texts = [
        cell.replace(",", ".") if is_comma else cell
        for cell, is_comma in zip(cells, commas, strict=True)
    ]
    read_numbers = [_read_number(text, codes) for text in texts]
    numbers = pd.Series([value for value, _ in read_numbers], dtype="float64")
    fates = tuple(fate for _, fate in read_numbers)
    return ColumnValues(numbers, fates, tuple(cells), sum(commas))


def derive_values(source: ColumnValues, derived: Derived) -> ColumnValues:
    """The numbers that `derived` lists for the values of another column."""
    numbers = {canonical(text): number for text, number in derived.values.items()}
    read: list[tuple[float, Fate]] = []
    for value in source.values:
        known = numbers.get(canonical(str(value)))
        if pd.isna(value):
            read.append((np.nan, "blank"))
        else:
            read.append((np.nan, "unreadable") if known is None else (known, "value"))
    values = pd.Series([value for value, _ in read], dtype="float64")
    return ColumnValues(values, tuple(fate for _, fate in read), source.cells)


class _Codes:
    """The codes of a column in their canonical spelling, looked up once a column."""

    def __init__(self, column: TraitColumn) -> None:
        self.missing = {canonical(code) for code in column.missing_codes}
        self.top = {canonical(code): number for code, number in column.top_codes.items()}
        self.words = {canonical(word): number for word, number in column.words.items()}
        self.allowed = {canonical(value) for value in column.allowed}
        self.lowest = -np.inf if column.lowest is None else column.lowest
        self.highest = np.inf if column.highest is None else column.highest

    def allows(self, number: float) -> bool:
        is_listed = not self.allowed or repr(number) in self.allowed
        return is_listed and self.lowest <= number <= self.highest


def _read_number(text: str, codes: _Codes) -> tuple[float, Fate]:
    if is_blank(text):
        return np.nan, "blank"
    known = canonical(text)
    if known in codes.missing:
        return np.nan, "code"
    if known in codes.top:
        return codes.top[known], "top"
    number = codes.words.get(known, parse_number(text))
    if number is None:
        return np.nan, "unreadable"
    return (number, "value") if codes.allows(number) else (np.nan, "outside")


def _read_category(text: str, codes: _Codes) -> tuple[str | float, Fate]:
    if is_blank(text):
        return np.nan, "blank"
    if canonical(text) in codes.missing:
        return np.nan, "code"
    if codes.allowed and canonical(text) not in codes.allowed:
        return np.nan, "outside"
    return drop_decimals(text), "value"


def _has_decimal_commas(cells: Sequence[str], is_comma_decimal: bool) -> bool:
    """Whether the commas in a column of numbers are decimal ones; never beside decimal points."""
    if any("." in cell and parse_number(cell) is not None for cell in cells):
        return False
    with_comma = [cell for cell in cells if _COMMA_NUMBER.fullmatch(cell)]
    return is_comma_decimal or any(not _THOUSANDS.fullmatch(cell) for cell in with_comma)
