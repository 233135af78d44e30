"""Codes of donors: nothing that is told names one, all that may be read stays as it is."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.privacy import DonorCodes, donor_codes
from somaflow.study import Study

PLACE = Path("codes.tsv")


def make_codes(*names: str, cells: tuple[str, ...] = (), secret: bytes = b"s") -> DonorCodes:
    return DonorCodes(secret, names, cells, PLACE)


@pytest.mark.parametrize(
    "text",
    [
        "GFAP_90000024_grey_Snap-110: no such file",
        "/data/GFAP/GFAP/90000024/Grey/Snap-110.tiff_files",
        "donor 90000024 has 2 tiles in train and 1 in val",
        "left out: 90000024 (0 tiles), 00900041 (1 tiles)",
        "KeyError: '90000024'",
        "read as 90000024.0 by a spreadsheet",
        "| NeuN_90000024_white_Snap-3 | 90000024 | NeuN | blurred |",
        "and lost its zeros: 900041",
        "donor90000024.tiff",
    ],
)
def test_ids_of_digits_are_found_wherever_they_stand(text: str) -> None:
    """In tile ids, paths, lists, quotes, tables; with and without leading zeros."""
    hidden = make_codes("90000024", "00900041").hide(text)
    assert "90000024" not in hidden
    assert "900041" not in hidden
    assert "donor-" in hidden


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ROS-12_b", "GFAP_ROS-12_b_grey_Snap-1 cannot be read"),
        ("ROS 12", "GFAP_ROS-12_grey_Snap-1 cannot be read"),
        ("R1234", "donors left out: R1234 (0 tiles)"),
        ("R1234", "gfap_r1234_grey"),
        ("Müller", "no tile of Müller, none"),
        ("1.5", "donor 1.5 is twice"),
    ],
)
def test_ids_of_other_kinds_are_found(name: str, text: str) -> None:
    """Also as they stand in file names, where blanks are hyphens, and in any case."""
    hidden = make_codes(name).hide(text)
    assert name.casefold() not in hidden.casefold()
    assert "12" not in hidden
    assert make_codes(name).code(name) in hidden


@pytest.mark.parametrize(
    "text",
    [
        "14,749 of 14749 tiles, 32 tiles/s, 7 min 10 s left",
        "Inference 9f1c2a90000024a1b2c3: 4 of 231 shards done",
        "job 12345678 waits for 10 minutes",
        "F1 pooled .8362, AP50 .7041, rho -0.24",
        "it's the donors' own matter, isn't it",
    ],
)
def test_other_numbers_and_words_stay(text: str) -> None:
    """Counts, keys, scores and job numbers are no ids."""
    codes = make_codes("00000012", "24", "7049", "R1234", cells=("3", "Inference"))
    assert text == codes.hide(text)


def test_id_inside_a_longer_number_is_another_number() -> None:
    """900041 is not to be found in 19000412."""
    assert "19000412" == make_codes("900041").hide("19000412")


def test_short_ids_are_coded_where_they_are_ids() -> None:
    """Of donors called 7 and A, tile ids, paths, quotes and lists are coded, counts are not."""
    codes = make_codes("7", "A")
    seven, a = codes.code("7"), codes.code("A")
    assert f"7 tile(s), GFAP_{seven}_grey_Snap-1" == codes.hide("7 tile(s), GFAP_7_grey_Snap-1")
    assert f"/tiles/GFAP/{a}/Grey/x.tiff" == codes.hide("/tiles/GFAP/A/Grey/x.tiff")
    assert f"'{seven}' in 7 of 8 shards" == codes.hide("'7' in 7 of 8 shards")
    assert f"7 of 9 donors lack traits: {seven}, {a}" == codes.hide(
        "7 of 9 donors lack traits: 7, A"
    )
    page = "| tile | donor | tiles |\n| --- | --- | --- |\n| x | 7 | 7 |"
    assert f"| x | {seven} | 7 |" == codes.hide(page).splitlines()[-1]


def test_spellings_of_one_donor_have_one_code() -> None:
    """What a spreadsheet does to an id does not make another donor of it."""
    codes = make_codes("00246264")
    assert 1 == len({codes.code(name) for name in ("00246264", "246264", "246264.0")})
    assert codes.code("00246264") != codes.code("00246265")


def test_codes_of_two_studies_have_nothing_in_common() -> None:
    """Another secret, another code: tables of two dashboards cannot be joined."""
    names = [f"{number:08}" for number in range(500)]
    first, second = make_codes(*names), make_codes(*names, secret=b"t")
    assert not {first.code(name) for name in names} & {second.code(name) for name in names}


@given(st.lists(st.from_regex(r"\A[0-9]{8}\Z"), min_size=1, max_size=8), st.text(max_size=40))
def test_hiding_twice_is_hiding_once(names: list[str], around: str) -> None:
    """A text that went through two doors reads like one that went through one."""
    codes = make_codes(*names)
    text = around.join(["", *names, ""])
    assert codes.hide(text) == codes.hide(codes.hide(text))


def test_trait_values_are_withheld() -> None:
    """What quotes a cell of the trait table no longer does; a long decimal is found unquoted."""
    codes = make_codes("00246264", cells=("n.d.", "6", "12.34567", "Grey"))
    line = 'braaksc: 2 value(s) are no numbers and count as missing ("n.d.", "6"); correct them'
    expected = 'braaksc: 2 value(s) are no numbers and count as missing ("…", "…"); correct them'
    assert expected == codes.hide(line)
    assert "value … is above 6" == codes.hide("value 12.34567 is above 6")


def test_tables_are_coded_cell_by_cell() -> None:
    """A column called donor holds nothing but ids, however short; numbers stay numbers."""
    codes = make_codes("7", "00246264")
    table = pd.DataFrame(
        {"donor": ["7", "00246264"], "n_tiles": [7, 8], "tile": ["GFAP_7_grey", "x"]}
    )
    hidden = codes.hide_table(table)
    assert [codes.code("7"), codes.code("00246264")] == hidden["donor"].tolist()
    assert [7, 8] == hidden["n_tiles"].tolist()
    assert f"GFAP_{codes.code('7')}_grey" == hidden["tile"][0]


def study_of(folder: Path, **fields: object) -> Study:
    tiles = {"root": str(folder / "tiles")}
    return Study(name="s", tiles=tiles, output=folder / "output", **fields)


def test_codes_are_stable_and_listed_in_the_study(tmp_path: Path) -> None:
    """A second run has the same codes; the study's folder says whose they are, to its owner."""
    (tmp_path / "tiles" / "GFAP" / "GFAP" / "00246264" / "Grey").mkdir(parents=True)
    study = study_of(tmp_path)
    first, second = donor_codes(study), donor_codes(study)
    assert first is not None and second is not None
    assert first.code("00246264") == second.code("00246264")
    listed = pd.read_csv(study.paths.donor_codes, sep="\t", dtype=str)
    assert [("00246264", first.code("00246264"))] == list(
        zip(listed.donor, listed.code, strict=True)
    )
    assert str(study.paths.donor_codes) in first.note


def test_runs_that_begin_at_once_have_one_secret(tmp_path: Path) -> None:
    """Of eight that find none, each ends up with the same codes as the others."""
    study = study_of(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(donor_codes, [study] * 8))
    assert 1 == len({codes.code("00246264") for codes in found if codes is not None})
    assert ["secret"] == [path.name for path in study.paths.code_secret.parent.glob("secret*")]


def test_secrets_are_drawn_and_not_computed(tmp_path: Path) -> None:
    """The same study in another folder has another secret, of 256 bits."""
    secrets = [study_of(tmp_path / name).paths.code_secret for name in ("a", "b")]
    for name in ("a", "b"):
        donor_codes(study_of(tmp_path / name))
    assert 32 == len(bytes.fromhex(secrets[0].read_text()))
    assert secrets[0].read_text() != secrets[1].read_text()


def test_study_that_shows_its_donors_has_no_codes(tmp_path: Path) -> None:
    """Nothing is written, nothing is coded."""
    assert donor_codes(study_of(tmp_path, show_donors=True)) is None
    assert not (tmp_path / "output").exists()


@pytest.mark.usefixtures("owner_alone")
def test_secret_is_the_owners_alone(tmp_path: Path) -> None:
    """With it codes could be turned back into ids."""
    study = study_of(tmp_path)
    donor_codes(study)
    assert 0o600 == stat.S_IMODE(study.paths.code_secret.stat().st_mode)
    assert 0o700 == stat.S_IMODE(study.paths.code_secret.parent.stat().st_mode)
