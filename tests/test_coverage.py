"""Coverage of a study: every tile is counted once, and every gap is a line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.coverage import (
    UNKNOWN,
    Coverage,
    audit_coverage,
    read_coverage,
    read_expected,
    tabulate_records,
)
from somaflow.errors import BadInputError, StoreError, StudyError
from somaflow.ledger import ShardRecord, TileRecord, plan_shards, write_plan, write_record
from somaflow.paths import RunPaths
from somaflow.tiles.table import TileRow, build_table

KEY = "0123456789abcdef0123"


def make_tiles(*names: str, **statuses: str) -> pd.DataFrame:
    """A tile table of names as "GFAP/0012/1"; a status by the name with underscores."""
    rows = []
    for name in names:
        marker, donor, _ = name.split("/")
        status = statuses.get(name.replace("/", "_"), "ok")
        reason = "" if status == "ok" else "no marker image"
        rows.append(
            TileRow(name, donor, marker, height_px=8, width_px=8, status=status, reason=reason)
        )
    return build_table(rows)


def make_records(*names: str, **reasons: str) -> pd.DataFrame:
    tiles = tuple(TileRecord(name, 3, reasons.get(name.replace("/", "_"), "")) for name in names)
    return tabulate_records([ShardRecord(KEY, 0, "8x8", 0, "cpu", "", "", tiles)])


def row_of(coverage: Coverage, donor: str, marker: str) -> pd.Series:
    table = coverage.table
    return table[(table.donor == donor) & (table.marker == marker)].squeeze(axis=0)


def make_expected(**tiles: int) -> pd.DataFrame:
    pairs = [name.split("_")[::-1] for name in tiles]
    return pd.DataFrame(pairs, columns=["donor", "marker"]).assign(tiles=list(tiles.values()))


def test_fewer_tiles_than_expected_are_told() -> None:
    """Donor and marker, expected and found; what is right is not told."""
    tiles = make_tiles("GFAP/00900001/1", "GFAP/00900001/2", "GFAP/7/1")
    coverage = audit_coverage(tiles, expected=make_expected(GFAP_00900001=3, GFAP_7=1))
    assert ["GFAP: 3 tiles of donor 00900001 expected, 2 found"] == coverage.problems
    row = row_of(coverage, "00900001", "GFAP")
    assert [3, 2] == [row.n_expected, row.n_found]


def test_more_tiles_than_expected_are_told() -> None:
    """Too many is a gap in what is known, too."""
    coverage = audit_coverage(make_tiles("GFAP/1/1", "GFAP/1/2"), expected=make_expected(GFAP_1=1))
    assert ["GFAP: 1 tiles of donor 1 expected, 2 found"] == coverage.problems


def test_expected_donor_without_any_tile_has_a_row() -> None:
    """A donor whose folder is absent is in the table, with 0 found."""
    expected = make_expected(GFAP_1=1, GFAP_2=2, NeuN_2=0)
    coverage = audit_coverage(make_tiles("GFAP/1/1"), expected=expected)
    assert 0 == row_of(coverage, "2", "GFAP").n_found
    assert "GFAP: 2 tiles of donor 2 expected, 0 found" in coverage.problems
    assert not any("donor 2" in line and "NeuN" in line for line in coverage.problems)


def test_expected_donors_may_lack_leading_zeros() -> None:
    """The list comes from the same numeric read as the trait table; markers in any case."""
    expected = make_expected(gfap_900001=1)
    coverage = audit_coverage(make_tiles("GFAP/00900001/1"), expected=expected)
    assert [] == coverage.problems
    assert ["00900001"] == coverage.table.donor.tolist()


def test_donors_that_nobody_expects_are_told_once_a_marker() -> None:
    """A list that is not complete is seen, in a line a marker."""
    tiles = make_tiles("GFAP/1/1", "GFAP/2/1", "GFAP/3/1")
    coverage = audit_coverage(tiles, expected=make_expected(GFAP_1=1))
    assert ["GFAP: 2 donor(s) have tiles and are not among the expected: 2, 3"] == coverage.problems
    assert np.isnan(row_of(coverage, "2", "GFAP").n_expected)


def test_marker_that_a_donor_lacks_is_told() -> None:
    """Every donor has a row for every marker, since statistics lose him there."""
    coverage = audit_coverage(make_tiles("GFAP/1/1", "GFAP/2/1", "NeuN/1/1"))
    assert ["NeuN: no tile of 1 of 2 donors: 2"] == coverage.problems
    assert 4 == len(coverage.table)
    assert 0 == row_of(coverage, "2", "NeuN").n_found


def test_each_tile_is_found_refused_segmented_set_aside_or_pending() -> None:
    """One tile of each fate; those of other markers are nobody's."""
    names = [f"GFAP/1/{fate}" for fate in ("refused", "done", "bad", "pending", "other")]
    tiles = make_tiles(*names, GFAP_1_refused="refused", GFAP_1_other="skipped")
    records = make_records("GFAP/1/done", "GFAP/1/bad", GFAP_1_bad="blank image")
    coverage = audit_coverage(tiles, records)
    row = row_of(coverage, "1", "GFAP")
    counts = ["n_found", "n_refused", "n_segmented", "n_quarantined", "n_pending"]
    assert [4, 1, 1, 1, 1] == row[counts].tolist()
    expected = [
        "GFAP: tile GFAP/1/refused is refused: no marker image",
        "GFAP: tile GFAP/1/bad was set aside: blank image",
        "GFAP: 1 tile(s) of 1 donor(s) not segmented yet; run e5-inference",
    ]
    assert expected == coverage.problems


def test_counts_of_what_has_not_been_done_are_missing() -> None:
    """Without records or quality those counts are NaN, not 0."""
    row = row_of(audit_coverage(make_tiles("GFAP/1/1")), "1", "GFAP")
    unknown = [
        "n_expected",
        "n_segmented",
        "n_quarantined",
        "n_pending",
        "n_passing_quality",
        "n_usable",
        "n_traits_missing",
    ]
    assert row[unknown].isna().all()
    assert 1 == row.n_found
    assert not row.has_traits


def test_refused_tiles_of_one_name_are_counted_apart() -> None:
    """Two files that share a tile_id are two tiles, refused, whatever a record says."""
    tiles = make_tiles("GFAP/1/1", "GFAP/1/1", GFAP_1_1="refused")
    coverage = audit_coverage(tiles, make_records("GFAP/1/1"))
    row = row_of(coverage, "1", "GFAP")
    assert [2, 2, 0, 0] == row[["n_found", "n_refused", "n_segmented", "n_pending"]].tolist()
    assert any("1 tile(s) were segmented and are not usable" in line for line in coverage.problems)


def test_plan_of_other_tiles_is_told() -> None:
    """A tile that the inference never planned will not come by waiting."""
    tiles = make_tiles("GFAP/1/1", "GFAP/1/2", "GFAP/1/3")
    plan, records = tiles.iloc[[0, 1]], make_records("GFAP/1/1", "GFAP/1/gone")
    lines = audit_coverage(tiles, records, plan).problems
    assert 3 == len(lines)
    assert "GFAP: 1 tile(s) of 1 donor(s) not segmented yet; run e5-inference" == lines[0]
    assert lines[1].startswith("GFAP: 1 tile(s) of 1 donor(s) not in the plan of this inference")
    assert lines[2].startswith(
        "1 tile(s) were segmented and are not usable tiles of the study now: GFAP/1/gone"
    )


def test_usable_tiles_are_segmented_and_pass() -> None:
    """Quality counts of all tiles that are not refused; usable ones have labels too."""
    names = [f"GFAP/1/{number}" for number in range(4)]
    quality = pd.DataFrame({"tile_id": names[:3], "passes": [True, True, False]})
    records = make_records(*names[1:])
    coverage = audit_coverage(make_tiles(*names), records, quality=quality)
    row = row_of(coverage, "1", "GFAP")
    assert [2, 1] == row[["n_passing_quality", "n_usable"]].tolist()
    assert any(
        "1 tile(s) of 1 donor(s) without a row of tile quality" in line
        for line in coverage.problems
    )


def test_tiles_without_donor_have_a_row_of_their_own() -> None:
    """They are counted under «(unknown)», belong to no donor and have no traits to miss."""
    traits = pd.DataFrame({"donor": ["1"], "x": [1.0]})
    coverage = audit_coverage(make_tiles("GFAP/1/1", "GFAP//2", "NeuN/1/1"), traits=traits)
    row = row_of(coverage, UNKNOWN, "GFAP")
    assert 1 == row.n_found
    assert not row.has_traits
    assert np.isnan(row.n_traits_missing)
    assert ["GFAP: 1 tile(s) have no known donor and count for none: GFAP//2"] == coverage.problems
    assert [1, 1] == coverage.markers.n_donors.tolist()
    assert [2, 1] == coverage.markers.n_found.tolist()


def test_traits_are_matched_and_missing_ones_counted() -> None:
    """Zeros do not count; a donor without traits lacks all of them; one without tiles has a row."""
    traits = pd.DataFrame(
        {"donor": ["12", "13", "99"], "x": [1.0, np.nan, 2.0], "y": [1.0, np.nan, np.nan]}
    )
    coverage = audit_coverage(
        make_tiles("GFAP/0012/1", "GFAP/0013/1", "GFAP/0014/1"), traits=traits
    )
    table = coverage.table.set_index("donor")
    assert [True, True, False] == table.has_traits[["0012", "0013", "0014"]].tolist()
    assert [0, 2, 2] == table.n_traits_missing[["0012", "0013", "0014"]].tolist()
    assert ["", 0, True, 1] == table.loc[
        "99", ["marker", "n_found", "has_traits", "n_traits_missing"]
    ].tolist()
    assert ["1 of 3 donors have no traits: 0014"] == coverage.problems
    assert 2 == coverage.markers.n_donors_with_traits[0]
    assert coverage.match is not None
    assert ["99"] == coverage.match.without_tiles


def test_donor_of_an_ambiguous_id_has_no_traits() -> None:
    """Folders 0012 and 12 and a row 12: nobody gets it, and a line says so."""
    traits = pd.DataFrame({"donor": ["12", "3"], "x": [1.0, 2.0]})
    coverage = audit_coverage(make_tiles("GFAP/0012/1", "GFAP/12/1", "GFAP/3/1"), traits=traits)
    table = coverage.table.set_index("donor")
    assert [False, False, True] == table.has_traits[["0012", "12", "3"]].tolist()
    assert any("one number in several spellings" in line for line in coverage.problems)


def test_trait_table_of_others_is_one_line() -> None:
    """No donor in common is said with ids of either side, not donor by donor."""
    traits = pd.DataFrame({"donor": ["R1"], "x": [1.0]})
    lines = audit_coverage(make_tiles("GFAP/1/1", "GFAP/2/1"), traits=traits).problems
    assert 1 == len(lines)
    assert lines[0].startswith("none of 2 donors with tiles")


def test_marker_totals_add_up() -> None:
    """Sums over donors; a donor without a tile of the marker does not count there."""
    tiles = make_tiles("GFAP/1/1", "GFAP/1/2", "GFAP/2/1", "NeuN/1/1")
    expected = make_expected(GFAP_1=3, GFAP_2=1)
    totals = audit_coverage(tiles, make_records("GFAP/1/1", "NeuN/1/1"), expected=expected).markers
    totals = totals.set_index("marker")
    assert [2, 1] == totals.n_donors.tolist()
    assert [3, 1] == totals.n_found.tolist()
    assert [1, 1] == totals.n_segmented.tolist()
    assert [2, 0] == totals.n_pending.tolist()
    assert 4 == totals.n_expected["GFAP"]
    assert np.isnan(totals.n_expected["NeuN"])


def test_tables_that_name_a_row_twice_are_refused() -> None:
    """Otherwise a tile or donor would count twice; all tables are told at once."""
    tiles = make_tiles("GFAP/1/1")
    quality = pd.DataFrame({"tile_id": ["a", "a"], "passes": True})
    with pytest.raises(BadInputError, match="tile quality must have each tile_id once") as caught:
        audit_coverage(
            tiles,
            make_records("GFAP/1/1", "GFAP/1/1"),
            quality=quality,
            traits=pd.DataFrame({"donor": ["1", "1"]}),
        )
    assert "commit records" in str(caught.value)
    assert "trait table must have each donor once" in str(caught.value)
    twice = pd.concat([make_expected(GFAP_1=1), make_expected(GFAP_01=2)])
    with pytest.raises(BadInputError, match="GFAP of donor"):
        audit_coverage(tiles, expected=twice.assign(donor="1"))


def test_study_without_tiles_has_an_empty_table() -> None:
    """Nothing found is a result, too."""
    coverage = audit_coverage(make_tiles(), make_records(), expected=make_expected(GFAP_1=2))
    assert ["GFAP: 2 tiles of donor 1 expected, 0 found"] == coverage.problems
    assert 0 == len(audit_coverage(make_tiles()).table)


FATES = st.sampled_from(["refused", "segmented", "quarantined", "pending", "skipped"])


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "1", "2"]), st.sampled_from(["GFAP", "NeuN"]), FATES),
        max_size=15,
    )
)
def test_every_tile_is_counted_exactly_once(drawn: list[tuple[str, str, str]]) -> None:
    """Whatever the tiles, counts add up to them, in the table and in its totals."""
    rows, records = [], []
    for number, (donor, marker, fate) in enumerate(drawn):
        name = f"{marker}-{number}"
        status = fate if fate in ("refused", "skipped") else "ok"
        rows.append(TileRow(name, donor, marker, status=status))
        if fate in ("segmented", "quarantined"):
            records.append(TileRecord(name, 0, "bad" if fate == "quarantined" else ""))
    record = ShardRecord(KEY, 0, "8x8", 0, "cpu", "", "", tuple(records))
    coverage = audit_coverage(build_table(rows), tabulate_records([record]))
    fates = pd.Series([fate for _, _, fate in drawn], dtype="str")
    for name in ("refused", "segmented", "quarantined", "pending"):
        assert (fates == name).sum() == coverage.table[f"n_{name}"].sum()
    assert (fates != "skipped").sum() == coverage.table.n_found.sum()
    if len(coverage.markers):
        assert coverage.table.n_found.sum() == coverage.markers.n_found.sum()


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_expected_tiles_are_read_from_csv(tmp_path: Path) -> None:
    """Donors stay text, markers get their canonical spelling, empty rows are no rows."""
    path = write(tmp_path / "expected.csv", "donor,marker,tiles\n0012,gfap,3\n,,\n13,NEUN,0\n")
    expected = pd.DataFrame({"donor": ["0012", "13"], "marker": ["GFAP", "NeuN"], "tiles": [3, 0]})
    pd.testing.assert_frame_equal(expected, read_expected(path))


def test_expected_tiles_that_are_no_numbers_are_told_all_at_once(tmp_path: Path) -> None:
    """A line for each bad row, with its place."""
    text = "donor,marker,tiles\n1,GFAP,three\n1,NeuN,2\n,GFAP,1\n2,GFAP,-1\n3,GFAP,1.5\n"
    with pytest.raises(StudyError) as caught:
        read_expected(write(tmp_path / "expected.csv", text))
    places = [line.split(" must")[0] for line in str(caught.value).splitlines()[1:]]
    assert ["line 2", "line 4", "line 5", "line 6"] == places
    with pytest.raises(StudyError, match="no row"):
        read_expected(write(tmp_path / "expected.csv", "donor,marker,tiles\n"))


def test_coverage_is_read_from_a_studys_files(tmp_path: Path) -> None:
    """Tile table, plan, records and expected tiles; labelled tiles are another source."""
    paths = RunPaths(tmp_path)
    tiles = make_tiles("GFAP/1/1", "GFAP/1/2", "NeuN/1/1")
    labelled = make_tiles("GFAP/1/9").assign(source="labelled")
    pd.concat([tiles.assign(source="tiles"), labelled]).to_parquet(paths.tiles)
    write_plan(paths, KEY, plan_shards(tiles, 2), {})
    done = (TileRecord("GFAP/1/1", 5), TileRecord("GFAP/1/2", 0, "blank"))
    write_record(paths, ShardRecord(KEY, 0, "8x8", 0, "cpu", "", "", done))
    expected = write(tmp_path / "expected.csv", "donor,marker,tiles\n1,GFAP,2\n1,NeuN,2\n")
    coverage = read_coverage(paths, KEY, expected)
    counts = ["marker", "n_expected", "n_found", "n_segmented", "n_quarantined", "n_pending"]
    assert [["GFAP", 2, 2, 1, 1, 0], ["NeuN", 2, 1, 0, 0, 1]] == coverage.table[
        counts
    ].to_numpy().tolist()
    assert 3 == len(coverage.problems)
    assert 3 == read_coverage(paths).table.n_found.sum()


def test_coverage_of_an_inference_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A wrong key is no inference with nothing done."""
    paths = RunPaths(tmp_path)
    make_tiles("GFAP/1/1").assign(source="tiles").to_parquet(paths.tiles)
    with pytest.raises(StoreError, match="must have a plan"):
        read_coverage(paths, KEY)
