"""Donors of the tiles and of the trait table: who is who."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from somaflow.traits import match_donors

IDS = st.one_of(
    st.integers(0, 30).map(str),
    st.tuples(st.integers(0, 3), st.integers(0, 30)).map(lambda pair: "0" * pair[0] + str(pair[1])),
    st.integers(0, 30).map(lambda number: f"{number}.0"),
    st.sampled_from(["R1", "R01", "a", "1a", "0.5"]),
)


def respell(name: str, n_zeros: int, has_point: bool) -> str:
    """Another spelling of an id of digits."""
    return f"{'0' * n_zeros}{name.lstrip('0') or '0'}{'.0' if has_point else ''}"


def test_equal_spellings_are_pairs() -> None:
    """Ids of any kind match themselves."""
    names = ["R12", "00900001", "x y"]
    assert {name: name for name in names} == match_donors(names, names).donors


def test_lost_zeros_and_decimals_do_not_count() -> None:
    """The trait table's numbers find the folders that have leading zeros."""
    match = match_donors(["00900001", "00246264", "7"], ["900001", "246264.0", "007"])
    assert {"900001": "00900001", "246264.0": "00246264", "007": "7"} == match.donors
    assert [] == match.without_traits == match.without_tiles == match.ambiguous


def test_ids_that_are_no_numbers_match_only_as_spelled() -> None:
    """R1 is not R01, and 0.5 is no id with a lost decimal."""
    match = match_donors(["R1", "0.5"], ["R01", "00.5"])
    assert {} == match.donors


def test_who_has_no_partner_is_listed_on_either_side() -> None:
    """Both lists are sorted; a donor that is not known is nobody."""
    match = match_donors(["3", "001", "2", "2", ""], ["9", "1", "5"])
    assert {"1": "001"} == match.donors
    assert ["2", "3"] == match.without_traits
    assert ["5", "9"] == match.without_tiles


def test_one_number_in_two_spellings_matches_nobody() -> None:
    """Folders 0012 and 12 may both be row 12: neither is taken, and both are listed."""
    for trait in ("12", "12.0", "012", "0012"):
        match = match_donors(["0012", "12", "3"], [trait, "3"])
        assert {"3": "3"} == match.donors
        assert ["0012", "12"] == match.without_traits
        assert [(["0012", "12"], [trait])] == match.ambiguous
        assert any('"0012", "12"' in line for line in match.describe())


def test_two_rows_for_one_donor_match_nobody() -> None:
    """Rows 12 and 012 may both be folder 0012."""
    match = match_donors(["0012"], ["12", "012"])
    assert {} == match.donors
    assert [(["0012"], ["012", "12"])] == match.ambiguous


def test_two_spellings_on_either_side_are_two_donors() -> None:
    """Where both sides tell 0012 from 12, so does the match."""
    names = ["0012", "12"]
    assert {"0012": "0012", "12": "12"} == match_donors(names, names).donors


def test_match_is_said_in_words() -> None:
    """How many, and who does not."""
    match = match_donors(["1", "2", "3"], ["1", "2", "8", "9"])
    expected = [
        "2 of 3 donors with tiles have traits; without: 3",
        "2 of 4 donors of the trait table have no tile: 8, 9",
    ]
    assert expected == match.describe()
    assert ["1 of 1 donors with tiles have traits"] == match_donors(["1"], ["1"]).describe()


def test_long_lists_are_shortened() -> None:
    """Ten names are shown and the others counted."""
    lines = match_donors(["1"], [str(number) for number in range(1, 31)]).describe()
    assert lines[1].endswith("10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 19 more")


def test_no_donor_in_common_is_one_line_with_ids_of_either_side() -> None:
    """Two kinds of ids are seen at a glance, with what to change."""
    lines = match_donors(["00900001", "00900003"], ["R1000000"]).describe()
    assert 1 == len(lines)
    for part in ('none of 2', '"00900001", "00900003"', '"R1000000"', "id_column"):  # fmt: skip
        assert part in lines[0]


def test_table_is_renamed_to_the_tiles_spelling() -> None:
    """Rows of donors with tiles, in their order, spelled as the tiles do."""
    table = pd.DataFrame({"donor": ["9", "2", "1"], "x": [9.0, 2.0, 1.0]})
    renamed = match_donors(["01", "02"], table.donor).rename(table)
    pd.testing.assert_frame_equal(pd.DataFrame({"donor": ["02", "01"], "x": [2.0, 1.0]}), renamed)


@given(st.lists(IDS, max_size=12), st.lists(IDS, max_size=12))
def test_match_is_one_to_one_and_loses_nobody(tiles: list[str], traits: list[str]) -> None:
    """No row is two donors, no donor has two rows; matched and unmatched ones are all there are."""
    match = match_donors(tiles, traits)
    assert len(match.donors) == len(set(match.donors.values()))
    assert set(tiles) == {*match.donors.values(), *match.without_traits}
    assert set(traits) == {*match.donors, *match.without_tiles}
    assert not set(match.donors) & set(match.without_tiles)
    assert not set(match.donors.values()) & set(match.without_traits)


@given(st.lists(IDS, max_size=12), st.lists(IDS, max_size=12))
def test_match_is_the_same_from_either_side(tiles: list[str], traits: list[str]) -> None:
    """Exchanging the sides exchanges the pairs."""
    there, back = match_donors(tiles, traits), match_donors(traits, tiles)
    assert there.donors == {ours: theirs for theirs, ours in back.donors.items()}
    assert there.without_traits == back.without_tiles


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), unique_by=lambda pair: pair[0]),
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 4), st.booleans()),
        unique_by=lambda triple: triple[0],
    ),
)
def test_match_does_not_depend_on_zeros_and_decimals(
    tiles: list[tuple[int, int]], traits: list[tuple[int, int, bool]]
) -> None:
    """Where every number has one spelling a side, pairs are the numbers in common."""
    ours = {respell(str(number), n_zeros, False): number for number, n_zeros in tiles}
    theirs = {respell(str(number), n_zeros, point): number for number, n_zeros, point in traits}
    match = match_donors(ours, theirs)
    pairs = {(theirs[trait], ours[tile]) for trait, tile in match.donors.items()}
    common = {number for number, _ in tiles} & {number for number, _, _ in traits}
    assert {(number, number) for number in common} == pairs
