"""Cells of one column: what is a number, what is missing, and what is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.traits.codebook import Derived, TraitColumn
from somaflow.traits.values import canonical, derive_values, parse_number, read_values

NUMERIC = TraitColumn(kind="continuous")


def read(cells: list[str], is_comma_decimal: bool = False, **settings: object) -> list[float]:
    column = TraitColumn.model_validate({"kind": "continuous", **settings})
    return read_values(cells, column, is_comma_decimal).values.tolist()


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("-0.5", -0.5), ("+3.", 3), (".25", 0.25), ("1e-3", 0.001), ("1E2", 100)],
)
def test_number_is_what_people_write(text: str, number: float) -> None:
    """Signs, points at either end and exponents are numbers."""
    assert number == parse_number(text)


@pytest.mark.parametrize("text", ["", "inf", "nan", "1_000", "90+", "1,5", "0x1f", "1e999", "٣"])
def test_number_is_not_what_python_alone_reads(text: str) -> None:
    """Underscores, infinities and other scripts' digits are typing errors in a clinical table."""
    assert parse_number(text) is None


@pytest.mark.parametrize("blank", ["", "NA", "na", "NaN", ".", "N/A", "NULL", "#N/A", "<NA>"])
@pytest.mark.parametrize("kind", ["continuous", "category"])
def test_blank_is_missing_and_counted(blank: str, kind: str) -> None:
    """The usual words for «no value» are missing in columns of any kind."""
    reading = read_values(["1", blank], TraitColumn.model_validate({"kind": kind}))
    assert [False, True] == reading.values.isna().tolist()
    assert 1 == reading.count("blank")


def test_missing_code_counts_only_where_it_is_declared() -> None:
    """-9 is a number unless the codebook says that it is none; it may be spelled -9.0."""
    assert [-9, 1] == read(["-9", "1"])
    column = TraitColumn(kind="continuous", missing_codes=["-9"])
    reading = read_values(["-9", "-9.0", "1"], column)
    assert ("code", "code", "value") == reading.fates
    assert [1] == reading.values.dropna().tolist()


def test_top_code_is_its_number_and_counted() -> None:
    """The text "90+" is 90 among numbers, in any spacing, and the column stays one of numbers."""
    column = TraitColumn(kind="continuous", top_codes={"90+": 90})
    reading = read_values(["88.25", "90+", "90 +"], column)
    assert [88.25, 90, 90] == reading.values.tolist()
    assert 2 == reading.count("top")


def test_top_code_that_is_not_declared_is_told() -> None:
    """Nothing is guessed: "90+" without a codebook's word is missing, with the text as example."""
    reading = read_values(["88", "90+", "90+", "~85"], NUMERIC)
    assert 3 == reading.count("unreadable")
    assert '"90+", "~85"' == reading.examples("unreadable")


def test_words_stand_for_numbers() -> None:
    """Words in any case, as the codebook gives them."""
    assert [1, 0, 1] == read(["male", "Female", "MALE"], words={"male": 1, "female": 0})


def test_values_outside_are_missing_and_counted() -> None:
    """A value that is not listed, or beyond a limit, does not reach the statistics."""
    column = TraitColumn(kind="ordinal", allowed=["0", "1", "2"])
    assert ("value", "outside", "outside") == read_values(["2.0", "2.5", "99"], column).fates
    column = TraitColumn(kind="continuous", lowest=0, highest=30)
    assert ("value", "value", "outside", "outside") == (
        read_values(["0", "30", "-1", "31"], column).fates
    )


def test_decimal_commas_are_read_where_they_are_certain() -> None:
    """One "0,5" shows that the column's commas are decimal; then "1,234" is one of them."""
    reading = read_values(["0,5", "1,234", "2"], NUMERIC)
    assert [0.5, 1.234, 2] == reading.values.tolist()
    assert 2 == reading.n_decimal_comma


def test_comma_that_may_mean_thousands_is_not_read() -> None:
    """A column of "1,234" alone may be 1234 or 1.234, so it is missing and told; not among ";"."""
    assert np.isnan(read(["1,234", "2"])[0])
    assert [1.234, 2] == read(["1,234", "2"], is_comma_decimal=True)


def test_comma_beside_decimal_points_is_not_read() -> None:
    """Where points are decimal, a comma is something else."""
    values = read(["1.5", "1,25"], is_comma_decimal=True)
    assert 1.5 == values[0]
    assert np.isnan(values[1])


def test_category_stays_text_without_a_numeric_reads_decimals() -> None:
    """33.0 is category "33"; other text stays as it is; what is not listed is missing."""
    column = TraitColumn(kind="category", allowed=["33", "34", "e3/e4"])
    reading = read_values(["33.0", "34", "e3/e4", "35", "6"], column)
    assert ["33", "34", "e3/e4"] == reading.values.dropna().tolist()
    assert 2 == reading.count("outside")


def test_derived_column_counts_alleles() -> None:
    """The dose is looked up by genotype; a missing genotype has none, an unlisted one is told."""
    source = read_values(["33", "34.0", "44", "NA", "99"], TraitColumn(kind="category"))
    dose = derive_values(source, Derived(values={"33": 0, "34": 1, "44": 2}))
    assert [0, 1, 2] == dose.values.dropna().tolist()
    assert ("value", "value", "value", "blank", "unreadable") == dose.fates


@given(st.lists(st.text(alphabet="0123456789.,+-eE nNaA9", max_size=6), max_size=20))
def test_every_cell_has_one_fate_and_a_value_accordingly(cells: list[str]) -> None:
    """Whatever the text, values and missing ones add up to the cells."""
    column = TraitColumn(kind="continuous", missing_codes=["9"], top_codes={"90+": 90}, lowest=0)
    reading = read_values(cells, column)
    assert len(cells) == len(reading.fates) == len(reading.values)
    has_value = [fate in ("value", "top") for fate in reading.fates]
    assert has_value == reading.values.notna().tolist()
    assert (reading.values.dropna() >= 0).all()


@given(st.integers(-999, 999))
def test_canonical_spelling_is_one_for_one_number(number: int) -> None:
    """6, 6.0 and " 6" are the same."""
    assert canonical(f"{number}") == canonical(f" {number}.0") == canonical(f"{number}.")
