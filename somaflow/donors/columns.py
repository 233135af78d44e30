"""Donors that two tables share, and their columns as numbers.

Enters: tables with a row a donor. Leaves: both tables on the same donors, and arrays of columns.
Refuses: a donor twice, donors that are no text, no donor in common, columns that are not there.
A column that cannot be used is no error: it keeps its place, without values and with the reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from somaflow.donors.ranks import Floats
from somaflow.errors import BadInputError

_SHOWN = 5


@dataclass(frozen=True)
class Columns:
    """Columns of a table as numbers."""

    names: list[str]
    values: Floats
    """(C, N) float64, a row a column, NaN where there is no value."""
    problems: list[str]
    """C reasons why a column has no values, "" where it has some."""

    def pick(self, index: int) -> "Columns":
        """Returns one column alone."""
        chosen = slice(index, index + 1)
        return Columns(self.names[chosen], self.values[chosen], self.problems[chosen])


def align_donors(
    donor_table: pd.DataFrame, trait_table: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns both tables with the donors in common, sorted by donor, which is their index.

    Raises:
        BadInputError: if a table has no column `donor`, a donor twice, missing or not as text, or
            the tables have no donor in common.
    """
    left, right = _by_donor(donor_table, "donor_table"), _by_donor(trait_table, "trait_table")
    _check_single(left, "donor_table")
    _check_single(right, "trait_table")
    common = _common(left, right, "donor_table")
    return left.loc[common], right.loc[common]


def align_tiles(
    tile_table: pd.DataFrame, trait_table: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the tiles of the donors in common, and the traits of each tile's donor.

    Both tables come back with a row a tile in the order of `tile_table`; donor is their index.

    Raises:
        BadInputError: as `align_donors`, but `tile_table` may hold a donor many times.
    """
    left, right = _by_donor(tile_table, "tile_table"), _by_donor(trait_table, "trait_table")
    _check_single(right, "trait_table")
    tiles = left[left.index.isin(_common(left, right, "tile_table"))]
    return tiles, right.loc[tiles.index]


def read_pairs(
    x_table: pd.DataFrame,
    y_table: pd.DataFrame,
    features: Sequence[str] | None,
    traits: Sequence[str] | None,
    covariates: Sequence[str],
) -> tuple[Columns, Columns, Columns]:
    """Returns features, traits and covariates as numbers.

    Args:
        x_table: holds the features.
        y_table: holds traits and covariates, of the same donors in the same order.
        features: columns of `x_table`; None takes every column of numbers.
        traits: columns of `y_table`; None takes every column of numbers but the covariates.
        covariates: columns of `y_table`.

    Raises:
        BadInputError: if a name is given twice or is no column, or a covariate is no number.
    """
    z = read_columns(y_table, covariates, "covariates")
    bad = [f"{name} {why}" for name, why in zip(z.names, z.problems, strict=True) if why]
    if bad:
        raise BadInputError(
            f"covariates must be numbers, found that {'; '.join(bad)}; turn them into numbers or "
            "leave them out"
        )
    tested = y_table.drop(columns=z.names) if traits is None else y_table
    return read_columns(x_table, features, "features"), read_columns(tested, traits, "traits"), z


def read_columns(table: pd.DataFrame, names: Sequence[str] | None, what: str) -> Columns:
    """Returns the named columns as numbers.

    Args:
        table: a row a donor.
        names: columns of `table`; None takes every column of numbers.
        what: the argument they come from, for the message.

    Raises:
        BadInputError: if a name is given twice or is no column.
    """
    if names is None:
        columns: Iterable[Any] = table.columns
        names = [name for name in columns if pd.api.types.is_numeric_dtype(table[name])]
    chosen = [names] if isinstance(names, str) else list(names)
    bad = [f"{name}, not in the table" for name in chosen if name not in table]
    bad += [f"{name}, given twice" for name in dict.fromkeys(chosen) if chosen.count(name) > 1]
    if bad:
        raise BadInputError(
            f"{what} must be different columns of their table, found {'; '.join(bad)}; "
            f"the table has {_some(table.columns)}"
        )
    read = [_read(table[name]) for name in chosen]
    values = np.array([column for column, _ in read]).reshape(len(chosen), len(table))
    return Columns(chosen, values, [problem for _, problem in read])


def _read(column: pd.Series) -> tuple[Floats, str]:
    missing = np.full(len(column), np.nan)
    if not _is_numeric(column):
        return missing, "is text, not numbers"
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        return missing, "has infinite values"
    return values, "has no value" if np.isnan(values).all() else ""


def _is_numeric(column: pd.Series) -> bool:
    """Whether all values are numbers, whatever the column's dtype says of them."""
    if pd.api.types.is_numeric_dtype(column):
        return True
    return all(isinstance(value, int | float | np.number) for value in column.dropna())


def _by_donor(table: pd.DataFrame, name: str) -> pd.DataFrame:
    if "donor" not in table:
        raise BadInputError(f"{name} must have a column donor, found {_some(table.columns)}")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise BadInputError(
            f"{name} must have columns of different names, found twice: {_some(twice.unique())}"
        )
    donors = table["donor"]
    odd = [donor for donor in donors if not isinstance(donor, str) or not donor]
    if odd:
        raise BadInputError(
            f"donor must be text in every row of {name}, found {_some(map(repr, odd))}; read ids "
            "as text, or their leading zeros are lost"
        )
    return table.set_index("donor")


def _check_single(table: pd.DataFrame, name: str) -> None:
    twice = table.index[table.index.duplicated()].unique()
    if len(twice):
        raise BadInputError(
            f"{name} must have a row a donor, found twice: {_some(twice)}; select one recipe, "
            "marker, region and phenotype, or make the table wide"
        )


def _common(left: pd.DataFrame, right: pd.DataFrame, name: str) -> pd.Index:
    common = left.index.intersection(right.index).unique().sort_values()
    if common.empty:
        raise BadInputError(
            f"{name} and trait_table must have donors in common, found {_some(left.index.unique())}"
            f" in the one and {_some(right.index)} in the other; write ids alike, leading zeros too"
        )
    return common


def _some(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    shown = ", ".join(listed[:_SHOWN]) or "none"
    return shown if len(listed) <= _SHOWN else f"{shown} and {len(listed) - _SHOWN} more"
