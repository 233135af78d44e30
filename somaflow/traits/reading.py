"""The trait table: one row a donor, numbers where the codebook says so, and all that was lost.

Enters: a CSV or TSV file and its codebook. Leaves: a table with the donor as text, what became of
every cell, and problems in words. Everything is read as text first, so a "90+" never turns a
column into categories and an id stays as it is spelled. Refuses files without an id column, rows,
or a column of the codebook; everything else is told in `problems`, and the rest read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from somaflow.errors import StudyError
from somaflow.traits.codebook import Codebook, Derived, TraitColumn
from somaflow.traits.sheets import Sheet, read_sheet
from somaflow.traits.values import (
    ColumnValues,
    canonical,
    derive_values,
    drop_decimals,
    is_blank,
    read_values,
)
from somaflow.traits.wording import shorten


@dataclass(frozen=True)
class Traits:
    """Donor-level variables, ready for statistics, and what was found on the way.

    Attributes:
        table: `donor` (text, as the file spells it, without a trailing ".0") and a column for each
            of the codebook that the file has, in the codebook's order, derived ones behind their
            own; float64, or text for a category; NaN = missing.
        notes: a row a column: column, kind, direction, meaning, n_values, n_missing, n_blank,
            n_missing_code, n_unreadable, n_outside, n_top_coded, n_decimal_comma, examples (of
            unreadable or not allowed values), n_distinct. n_values + n_missing = donors;
            n_missing = n_blank + n_missing_code + n_unreadable + n_outside; n_top_coded are among
            n_values.
        problems: a line for each thing to look into.
        n_rows: of the file, without empty lines and those of a wrong length.
        n_repeated: rows that say the same of a donor as an earlier row, and were dropped.
        n_without_id: rows that name no donor.
        left_out: donors whose rows contradict each other.
        absent: columns of the codebook that the file lacks.
        unread: columns of the file that the codebook does not know.
    """

    table: pd.DataFrame
    notes: pd.DataFrame
    problems: list[str]
    n_rows: int
    n_repeated: int
    n_without_id: int
    left_out: list[str]
    absent: list[str]
    unread: list[str]

    def describe(self) -> list[str]:
        """What was read and what was not, a line each; `problems` come on top."""
        n_used = len(self.table) + self.n_repeated
        lines = [
            f"{len(self.table)} donors from {n_used} of {self.n_rows} rows of the trait table, "
            f"{self.n_repeated} of them repeated"
        ]
        if self.absent:
            lines.append(f"in the codebook and not in the table: {', '.join(self.absent)}")
        if self.unread:
            lines.append(f"in the table and not in the codebook: {shorten(self.unread)}")
        return lines


def read_traits(path: Path | str, codebook: Codebook, required: Sequence[str] = ()) -> Traits:
    """Reads a trait table.

    Rows that say the same of a donor in all columns read count once; a donor whose rows differ is
    left out, never averaged.

    Args:
        path: CSV or TSV file, UTF-8 with or without BOM, its first line the names of the columns;
            cells may be separated by semicolons too.
        codebook: what the columns mean.
        required: columns that are asked for later; a problem line says which are not there.

    Raises:
        StudyError: if nothing can be read: no such file, not text, no rows, no id column (or two),
            no column of the codebook, or no row that can be used.
    """
    path = Path(path)
    sheet = read_sheet(path)
    problems = list(sheet.problems)
    places, more = _find_columns(sheet, codebook, path)
    problems += more
    chosen, problems_of_rows = _choose_rows(sheet, places, codebook.id_column)
    problems += problems_of_rows
    if not chosen.rows:
        raise StudyError(
            f"the trait table must have a row of its own for each donor, none of {path} can be "
            "used:\n" + "\n".join(problems)
        )
    readings = _read_columns(chosen, places, codebook, sheet.separator == ";")
    donors = pd.Series([donor for donor, _ in chosen.rows], name="donor")
    columns = {name: reading.values for name, reading in readings.items()}
    described = codebook.described
    for name, reading in readings.items():
        problems += _report_column(name, described[name], reading)
    known = {name.casefold() for name in (*places, *codebook.ignored)}
    lacking = [name for name in required if name not in readings]
    if lacking:
        problems.append(
            f"{', '.join(lacking)}: asked for, and not in the trait table (or not in its "
            f"codebook); found are {', '.join(readings)}"
        )
    return Traits(
        table=pd.DataFrame({"donor": donors, **columns}),
        notes=pd.DataFrame(
            [_note(name, described[name], reading) for name, reading in readings.items()]
        ),
        problems=problems,
        n_rows=len(sheet.rows),
        n_repeated=chosen.n_repeated,
        n_without_id=chosen.n_without_id,
        left_out=chosen.left_out,
        absent=[name for name in codebook.columns if name not in places],
        unread=[name for name in sheet.columns if name and name.casefold() not in known],
    )


def _find_columns(sheet: Sheet, codebook: Codebook, path: Path) -> tuple[dict[str, int], list[str]]:
    """Place of the id column and of each column of the codebook, and names that occur twice."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(sheet.columns):
        found.setdefault(name.casefold(), []).append(place)
    # Quoted: in a file without a header they are the values of its first donor.
    names = ", ".join(f'"{name}"' for name in sheet.columns if name) or "none"
    id_places = found.get(codebook.id_column.casefold(), [])
    if len(id_places) != 1:
        raise StudyError(
            f"the trait table must have one column {codebook.id_column} with the donors' ids, "
            f"{path} has {len(id_places)} among {names}; name it as `id_column` in the codebook, "
            "or correct the table"
        )
    places, problems = {codebook.id_column: id_places[0]}, []
    for name in codebook.columns:
        candidates = found.get(name.casefold(), [])
        if len(candidates) == 1:
            places[name] = candidates[0]
        elif candidates:
            problems.append(
                f"{name}: {len(candidates)} columns of the trait table have that name, so none is "
                "read; rename all but one"
            )
    if len(places) == 1:
        raise StudyError(
            f"the trait table must have columns of its codebook "
            f"({', '.join(codebook.columns)}), {path} has {names}; describe them in a codebook, "
            "or correct their names"
        )
    return places, problems


@dataclass(frozen=True)
class _ChosenRows:
    rows: list[tuple[str, list[str]]]
    n_repeated: int
    n_without_id: int
    left_out: list[str]


def _choose_rows(
    sheet: Sheet, places: dict[str, int], id_column: str
) -> tuple[_ChosenRows, list[str]]:
    """One row a donor, and what happened to the other rows."""
    by_donor: dict[str, list[tuple[int, list[str]]]] = {}
    without_id = []
    for line, cells in sheet.rows:
        donor = drop_decimals(cells[places[id_column]])
        if is_blank(donor):
            without_id.append(line)
        else:
            by_donor.setdefault(donor, []).append((line, cells))
    traits = {name: place for name, place in places.items() if name != id_column}
    differing = {}
    for donor, rows in by_donor.items():
        columns = [
            name
            for name, place in traits.items()
            if len({canonical(cells[place]) for _, cells in rows}) > 1
        ]
        if columns:
            lines = ", ".join(str(line) for line, _ in rows)
            differing[donor] = f"{donor} (lines {lines}: {', '.join(columns)})"
    problems = []
    if without_id:
        problems.append(
            f"{len(without_id)} row(s) of the trait table have no {id_column} and are left out: "
            f"line(s) {shorten(without_id)}"
        )
    if differing:
        problems.append(
            f"{len(differing)} donor(s) of the trait table have rows that differ and are left out: "
            f"{shorten(list(differing.values()), '; ')}; keep one row a donor"
        )
    kept = [(donor, rows[0][1]) for donor, rows in by_donor.items() if donor not in differing]
    n_repeated = sum(len(rows) - 1 for donor, rows in by_donor.items() if donor not in differing)
    return _ChosenRows(kept, n_repeated, len(without_id), sorted(differing)), problems


def _read_columns(
    chosen: _ChosenRows, places: dict[str, int], codebook: Codebook, is_comma_decimal: bool
) -> dict[str, ColumnValues]:
    """The values of every column there is, in the order of the codebook, derived ones too."""
    readings: dict[str, ColumnValues] = {}
    for name, column in codebook.columns.items():
        if name not in places:
            continue
        cells = [cells[places[name]] for _, cells in chosen.rows]
        readings[name] = read_values(cells, column, is_comma_decimal)
        for derived_name, derived in column.derived.items():
            readings[derived_name] = derive_values(readings[name], derived)
    return readings


def _note(name: str, column: TraitColumn | Derived, reading: ColumnValues) -> dict[str, object]:
    return {
        "column": name,
        "kind": column.kind,
        "direction": column.direction,
        "meaning": column.meaning,
        "n_values": reading.count("value", "top"),
        "n_missing": reading.count("blank", "code", "unreadable", "outside"),
        "n_blank": reading.count("blank"),
        "n_missing_code": reading.count("code"),
        "n_unreadable": reading.count("unreadable"),
        "n_outside": reading.count("outside"),
        "n_top_coded": reading.count("top"),
        "n_decimal_comma": reading.n_decimal_comma,
        "examples": reading.examples("unreadable", "outside"),
        "n_distinct": int(reading.values.nunique()),
    }


def _report_censoring(name: str, column: TraitColumn | Derived, reading: ColumnValues) -> list[str]:
    """A line where "90+" stands beside 97: ranked as 90, it would lie below."""
    if isinstance(column, Derived) or not reading.count("top"):
        return []
    is_value = [fate == "value" for fate in reading.fates]
    n_above = int((reading.values[is_value] > min(column.top_codes.values())).sum())
    if not n_above:
        return []
    return [
        f"{name}: {n_above} value(s) are above {min(column.top_codes.values()):g} while "
        f"{reading.count('top')} are only known to be at least that "
        f"({reading.examples('top')}), so their order is not known; write the former so too"
    ]


def _report_column(name: str, column: TraitColumn | Derived, reading: ColumnValues) -> list[str]:
    """A line for each kind of value that could not be used."""
    n_bad, n_outside = reading.count("unreadable"), reading.count("outside")
    n_values = reading.count("value", "top")
    lines = []
    if n_bad and isinstance(column, Derived):
        lines.append(
            f"{name}: {n_bad} value(s) it is made from are not in its list and count as missing "
            f"({reading.examples('unreadable')}); add them to its `values`"
        )
    elif n_bad and not n_values:
        lines.append(
            f"{name}: is text ({reading.examples('unreadable')}) where numbers are needed, so all "
            "of it counts as missing; give its `words` in the codebook, or make it a category"
        )
    elif n_bad:
        lines.append(
            f"{name}: {n_bad} value(s) are no numbers and count as missing "
            f"({reading.examples('unreadable')}); correct them, or list them in the codebook as "
            "`missing_codes`, `top_codes` or `words`"
        )
    if n_outside:
        lines.append(
            f"{name}: {n_outside} value(s) are not allowed by the codebook and count as missing "
            f"({reading.examples('outside')}); correct them or the codebook"
        )
    lines += _report_censoring(name, column, reading)
    if column.kind == "binary" and reading.values.nunique() > 2:
        lines.append(
            f"{name}: is binary in the codebook and has {reading.values.nunique()} different "
            "values; correct its kind, or list its values as `allowed`"
        )
    return lines
