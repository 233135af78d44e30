"""Codebooks: the built-in one, one's own, and what is refused."""

from pathlib import Path

import pytest

from somaflow.errors import StudyError
from somaflow.traits import describe_direction, load_codebook

CLINICAL = [
    "Study", "msex", "educ", "race", "spanish", "apoe_genotype", "age_at_visit_max",
    "age_first_ad_dx", "age_death", "cts_mmse30_first_ad_dx", "cts_mmse30_lv", "pmi", "braaksc",
    "ceradsc", "cogdx", "dcfdx_lv", "plaq_d", "plaq_n", "nft", "gpath",
]  # fmt: skip


def write(folder: Path, text: str) -> Path:
    path = folder / "codebook.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_built_in_codebook_has_every_column_of_the_clinical_table() -> None:
    """Without a file, the columns of ROSMAP's table are known; the second id is not a trait."""
    codebook = load_codebook()
    assert "projid" == codebook.id_column
    assert CLINICAL == list(codebook.columns)
    assert ["individualID"] == codebook.ignored


def test_built_in_codebook_knows_the_traps() -> None:
    """Grade 6 is no diagnosis, "90+" is 90, and ceradsc runs the other way."""
    columns = load_codebook().columns
    assert ["6"] == columns["cogdx"].missing_codes == columns["dcfdx_lv"].missing_codes
    assert {"90+": 90} == columns["age_death"].top_codes
    assert "higher_is_better" == columns["ceradsc"].direction
    for trait in ("braaksc", "cogdx", "dcfdx_lv", "plaq_d", "plaq_n", "nft", "gpath"):
        assert "higher_is_worse" == columns[trait].direction


def test_own_codebook_is_read_from_yaml(tmp_path: Path) -> None:
    """Numbers as codes and as values of a list are taken for the texts that they are."""
    text = (
        "id_column: donor_id\ncolumns:\n"
        "  stage: {kind: ordinal, direction: higher_is_worse, missing_codes: [-9, unknown]}\n"
        "  allele: {kind: category, derived: {dose: {values: {33: 0, 34: 1}}}}\n"
    )
    codebook = load_codebook(write(tmp_path, text))
    assert ["-9", "unknown"] == codebook.columns["stage"].missing_codes
    assert {"33": 0, "34": 1} == codebook.columns["allele"].derived["dose"].values
    assert ["stage", "allele", "dose"] == list(codebook.described)


def test_codebook_based_on_rosmap_changes_what_it_names(tmp_path: Path) -> None:
    """The rest stays; a column of its own comes last, one of the same name is replaced."""
    text = (
        "based_on: rosmap\nid_column: folder\ncolumns:\n"
        "  amyloid: {kind: continuous}\n  BRAAKSC: {kind: ordinal}\n"
    )
    codebook = load_codebook(write(tmp_path, text))
    kept = [name for name in CLINICAL if name != "braaksc"]
    assert [*kept, "amyloid", "BRAAKSC"] == list(codebook.columns)
    assert "folder" == codebook.id_column


def test_codebook_problems_come_all_at_once(tmp_path: Path) -> None:
    """An unknown field, an unknown kind and a category with grades are one message."""
    text = (
        "id_colum: x\ncolumns:\n  a: {kind: number}\n"
        "  b: {kind: category, direction: higher_is_worse}\n"
    )
    with pytest.raises(StudyError, match="3 value") as caught:
        load_codebook(write(tmp_path, text))
    for place in ("id_colum", "columns.a.kind", "columns.b"):
        assert place in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("columns: {projid: {kind: ordinal}}", "names the donor"),
        ("columns: {donor: {kind: ordinal}}", "names the donor"),
        ("columns: {a: {kind: ordinal}, A: {kind: ordinal}}", "must differ"),
        ("columns: {a: {kind: ordinal, derived: {A: {values: {1: 2}}}}}", "must differ"),
        ("id_column: x", "must have columns"),
        ("based_on: rosmap\ncolumns: 3", "columns"),
        ("- a", "mapping"),
        ("a: [", "must be a YAML file"),
    ],
)  # fmt: skip
def test_codebook_that_contradicts_itself_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Names that clash, no columns, and files that are no mapping."""
    with pytest.raises(StudyError, match=words):
        load_codebook(write(tmp_path, text))


def test_codebook_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(StudyError, match=r"none\.yaml"):
        load_codebook(tmp_path / "none.yaml")


def test_direction_is_said_in_words() -> None:
    """A reader is told which end is worse, since ceradsc runs backwards."""
    column = load_codebook().columns["ceradsc"]
    words = describe_direction(column.direction, column.meaning)
    assert words.endswith("1 = definite Alzheimer's, 4 = none; higher is better")
    assert "higher is worse" == describe_direction("higher_is_worse")
