"""Trait tables as people have them: every trap by construction, and the synthetic study's whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from somaflow.errors import StudyError
from somaflow.synthetic.donors import draw_donors
from somaflow.synthetic.traits import draw_traits
from somaflow.traits import (
    Codebook,
    Traits,
    describe_traits,
    load_codebook,
    match_donors,
    read_traits,
)

CODEBOOK = Codebook.model_validate(
    {
        "columns": {
            "braaksc": {"kind": "ordinal", "direction": "higher_is_worse"},
            "plaq_n": {"kind": "continuous", "missing_codes": [-9]},
            "sex": {"kind": "binary"},
            "Study": {"kind": "category"},
        }
    }
)


def write(folder: Path, text: str, encoding: str = "utf-8", name: str = "traits.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(folder: Path, text: str, encoding: str = "utf-8") -> Traits:
    return read_traits(write(folder, text, encoding), CODEBOOK)


def note(traits: Traits, column: str) -> pd.Series:
    return traits.notes.set_index("column").loc[column]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_table_is_read_from_csv_tsv_and_semicolons(
    tmp_path: Path, separator: str, encoding: str, newline: str
) -> None:
    """Separator, BOM and line ends do not change the table."""
    rows = ["projid braaksc plaq_n Study", "001 3 0.5 ROS", "2 4 NA MAP"]
    text = newline.join(row.replace(" ", separator) for row in rows) + newline
    table = read(tmp_path, text, encoding).table
    assert ["donor", "braaksc", "plaq_n", "Study"] == table.columns.tolist()
    assert ["001", "2"] == table.donor.tolist()
    assert [3, 4] == table.braaksc.tolist()
    assert 0.5 == table.plaq_n[0]
    assert np.isnan(table.plaq_n[1])
    assert ["ROS", "MAP"] == table.Study.tolist()
    assert ["float64", "float64"] == [str(table[name].dtype) for name in ("braaksc", "plaq_n")]


def test_decimal_commas_of_a_semicolon_file_are_read(tmp_path: Path) -> None:
    """The file that a spreadsheet writes where the comma is decimal."""
    traits = read(tmp_path, "projid;plaq_n\n1;1,234\n2;0,5\n")
    assert [1.234, 0.5] == traits.table.plaq_n.tolist()
    assert 2 == note(traits, "plaq_n").n_decimal_comma


def test_decimal_comma_without_quotes_leaves_the_row_out(tmp_path: Path) -> None:
    """`3,5` in a comma-separated file shifts all that follows: that row is told, not read."""
    traits = read(tmp_path, "projid,plaq_n,braaksc\n1,0,5,3\n2,0.5,3\n")
    assert ["2"] == traits.table.donor.tolist()
    assert 1 == len(traits.problems)
    assert "more cells than its 3 columns and are left out: line(s) 2;" in traits.problems[0]


def test_short_row_is_told(tmp_path: Path) -> None:
    """A line that ends early counts as missing there; separators at its end do no harm."""
    traits = read(tmp_path, "projid,plaq_n,braaksc\n1,0.5\n2,0.5,3,,\n\n")
    assert [True, False] == traits.table.braaksc.isna().tolist()
    assert 1 == len(traits.problems)
    assert "fewer cells than its 3 columns" in traits.problems[0]
    assert "line(s) 2;" in traits.problems[0]


def test_ids_stay_text_as_they_are_spelled(tmp_path: Path) -> None:
    """Leading zeros stay; only the ".0" of a numeric read goes."""
    traits = read(tmp_path, "projid,braaksc\n00900001,1\n246264.0,2\nR12.0x,3\n")
    assert ["00900001", "246264", "R12.0x"] == traits.table.donor.tolist()


def test_column_names_may_have_another_case_and_blanks(tmp_path: Path) -> None:
    """BraakSC is braaksc; columns that only the file or only the codebook has are listed."""
    traits = read(tmp_path, "ProjID, BraakSC ,weight\n1,2,3\n")
    assert [2] == traits.table.braaksc.tolist()
    assert ["weight"] == traits.unread
    assert ["plaq_n", "sex", "Study"] == traits.absent
    expected = [
        "1 donors from 1 of 1 rows of the trait table, 0 of them repeated",
        "in the codebook and not in the table: plaq_n, sex, Study",
        "in the table and not in the codebook: weight",
    ]
    assert expected == traits.describe()


def test_text_among_numbers_is_missing_counted_and_shown(tmp_path: Path) -> None:
    """One bad cell costs that cell alone, and is quoted."""
    traits = read(tmp_path, "projid,braaksc\n1,3\n2,III\n3,?\n4,\n")
    assert [3] == traits.table.braaksc.dropna().tolist()
    found = note(traits, "braaksc")
    counts = ["n_values", "n_missing", "n_blank", "n_unreadable"]
    assert [1, 3, 1, 2] == found[counts].tolist()
    assert '"III", "?"' == found.examples
    assert 1 == len(traits.problems)
    assert traits.problems[0].startswith(
        'braaksc: 2 value(s) are no numbers and count as missing ("III"'
    )


def test_column_of_text_leaves_the_others_usable(tmp_path: Path) -> None:
    """A trait that is text is one problem line; the table has all else."""
    traits = read(tmp_path, "projid,braaksc,plaq_n\n1,low,0.1\n2,high,0.2\n")
    assert traits.table.braaksc.isna().all()
    assert [0.1, 0.2] == traits.table.plaq_n.tolist()
    assert 1 == len(traits.problems)
    assert traits.problems[0].startswith('braaksc: is text ("low", "high")')


def test_problems_are_told_all_at_once(tmp_path: Path) -> None:
    """Rows, ids, columns and values: none hides another."""
    rows = ["1,x,0,a,b", "2,3,1,a,b", ",3,1,a,b", "3,1,2,a,b", "3,2,2,a,b", "4,1,2,a"]
    text = "\n".join(["projid,braaksc,sex,Study,Study", *rows])
    traits = read_traits(write(tmp_path, text), CODEBOOK, required=["plaq_n", "braaksc"])
    starts = [
        "1 row(s) of the trait table have fewer cells",
        "Study: 2 columns",
        "1 row(s) of the trait table have no projid",
        "1 donor(s) of the trait table have rows that differ",
        "braaksc: 1 value(s) are no numbers",
        "sex: is binary in the codebook and has 3",
        "plaq_n: asked for, and not in the trait table",
    ]
    assert len(starts) == len(traits.problems), traits.problems
    for start, line in zip(starts, traits.problems, strict=True):
        assert line.startswith(start)


def test_repeated_rows_collapse_and_are_counted(tmp_path: Path) -> None:
    """Rows that say the same in the columns read are one donor, however numbers are spelled."""
    text = "projid,braaksc,visit\n12,3,1\n12.0,3.0,2\n13,1,1\n"
    traits = read(tmp_path, text)
    assert ["12", "13"] == traits.table.donor.tolist()
    assert [3, 1] == [traits.n_rows, traits.n_repeated]
    assert [] == traits.problems


def test_donor_whose_rows_differ_is_left_out_not_averaged(tmp_path: Path) -> None:
    """Lines and columns are named, so that the right row can be kept."""
    traits = read(tmp_path, "projid,braaksc,plaq_n\n12,3,1\n13,1,1\n12,4,1\n")
    assert ["13"] == traits.table.donor.tolist()
    assert ["12"] == traits.left_out
    assert "12 (lines 2, 4: braaksc)" in traits.problems[0]


def test_rows_without_id_are_counted(tmp_path: Path) -> None:
    """A row of nobody is left out and told with its line."""
    traits = read(tmp_path, "projid,braaksc\n1,3\n,2\nNA,2\n")
    assert ["1"] == traits.table.donor.tolist()
    assert 2 == traits.n_without_id
    assert "line(s) 3, 4" in traits.problems[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("projid,braaksc\n", "must have a row a donor"),
        ("projid,braaksc\n,,\n", "must have a row a donor"),
        ("projid,braaksc\n1,2,3\n", "more cells than its 2 columns"),
        ("id,braaksc\n1,2\n", "must have one column projid .* has 0 among .id., .braaksc."),
        ("projid,projid\n1,2\n", "has 2 among"),
        ("projid,weight\n1,2\n", "must have columns of its codebook"),
        ("projid,braaksc\n1,2\n1,3\n", "none of .* can be used"),
        ('projid,braaksc\n1,"2\n', "is not in line 2"),
    ],
)
def test_table_that_cannot_be_read_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """The message says what must hold, what was found and where."""
    with pytest.raises(StudyError, match=words) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "traits.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04\x14\x00\xff\xfe", "an Excel or Open Document file"),
        (b"PK\x03\x04\x14\x00", "an Excel or Open Document file"),
        ("projid,braaksc\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("projid,braaksc\n1,2\n".encode("utf-16-le"), "not UTF-8"),
        ("projid,größe\n1,2\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_file_that_is_no_utf8_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """A spreadsheet and other encodings are named, with what to do."""
    path = tmp_path / "traits.xlsx"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=words) as caught:
        read_traits(path, CODEBOOK)
    assert "save it as CSV" in str(caught.value)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(StudyError, match=r"none\.csv"):
        read_traits(tmp_path / "none.csv", CODEBOOK)


def test_rosmap_traps_are_accounted_for(tmp_path: Path) -> None:
    """Grade 6 is missing, "90+" is 90, the genotype's dose is counted, codes may be floats."""
    text = (
        "projid,age_death,apoe_genotype,cogdx,ceradsc,cts_mmse30_lv\n"
        "1,90+,34.0,6.0,1,31\n2,81.5,44,4,4,30\n3,NA,23,1,2,\n"
    )
    traits = read_traits(write(tmp_path, text), load_codebook())
    table = traits.table
    assert [90, 81.5] == table.age_death.dropna().tolist()
    assert ["34", "44", "23"] == table.apoe_genotype.tolist()
    assert [1, 2, 0] == table.apoe_e4_dose.tolist()
    assert [4, 1] == table.cogdx.dropna().tolist()
    assert [1, 4, 2] == table.ceradsc.tolist()
    assert 1 == note(traits, "cogdx").n_missing_code
    assert 1 == note(traits, "cts_mmse30_lv").n_outside
    assert 1 == note(traits, "age_death").n_top_coded
    assert 1 == len(traits.problems)


def test_ages_above_the_top_code_are_told(tmp_path: Path) -> None:
    """A "90+" taken as 90 would rank below 97.5, so a table with both is told."""
    text = "projid,age_death\n1,90+\n2,97.5\n3,90\n4,80\n"
    lines = read_traits(write(tmp_path, text), load_codebook()).problems
    assert 1 == len(lines)
    assert lines[0].startswith("age_death: 1 value(s) are above 90 while 1 are only known")


def test_synthetic_table_is_read_whole(tmp_path: Path) -> None:
    """Of 300 donors all "90+", lost zeros and codes 6 are found again, and nothing else is lost."""
    donors = draw_donors(5, 300)
    drawn = draw_traits(5, donors)
    path = write(tmp_path, drawn.to_csv(index=False))
    traits = read_traits(path, load_codebook(), required=list(load_codebook().columns))
    table = traits.table
    assert [] == traits.problems == traits.absent == traits.unread
    for column in ("age_death", "age_at_visit_max"):
        is_old = drawn[column] == "90+"
        assert is_old.sum() == note(traits, column).n_top_coded > 0
        assert (table[column][is_old] == 90).all()
        assert (drawn[column][~is_old].astype(float) == table[column][~is_old]).all()
    for column in ("cogdx", "dcfdx_lv"):
        is_other = drawn[column] == 6
        assert is_other.sum() == note(traits, column).n_missing_code > 0
        assert is_other.tolist() == table[column].isna().tolist()
    dose = drawn.apoe_genotype.astype(str).str.count("4")
    assert dose.tolist() == table.apoe_e4_dose.tolist()
    rest = ["msex", "educ", "spanish", "age_first_ad_dx", "cts_mmse30_lv", "pmi", "braaksc",
            "ceradsc", "plaq_d", "plaq_n", "nft", "gpath"]  # fmt: skip
    for column in rest:
        expected = drawn[column].astype("float64").to_numpy()
        np.testing.assert_array_equal(expected, table[column].to_numpy())
    match = match_donors([donor.projid for donor in donors], table.donor)
    assert {str(int(donor.projid)): donor.projid for donor in donors} == match.donors


def test_every_cell_is_counted_once(tmp_path: Path) -> None:
    """Values and missing ones add up to the donors, and missing ones to their reasons."""
    path = write(tmp_path, draw_traits(1, draw_donors(1, 60)).to_csv(index=False))
    notes = read_traits(path, load_codebook()).notes
    assert (notes.n_values + notes.n_missing == 60).all()
    reasons = notes.n_blank + notes.n_missing_code + notes.n_unreadable + notes.n_outside
    assert reasons.tolist() == notes.n_missing.tolist()


def test_traits_are_described_in_words(tmp_path: Path) -> None:
    """A report says which end is worse, how many donors have a value and why others do not."""
    text = "projid,ceradsc,cogdx,age_death,race\n1,1,6,90+,1\n2,,6,80,1\n3,4,1,70,2\n"
    traits = read_traits(write(tmp_path, text), load_codebook())
    words = describe_traits(traits.notes).set_index("trait")
    assert "higher is better" == words.direction["ceradsc"]
    assert "-" == words.direction["race"]
    assert "2 (2 coded as missing)" == words.missing["cogdx"]
    assert "1 (1 blank)" == words.missing["ceradsc"]
    assert ["1", "-"] == [words.censored["age_death"], words.censored["cogdx"]]
