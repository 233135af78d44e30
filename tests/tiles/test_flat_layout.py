"""The labelled set in one folder: snap numbers are no donors."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from somaflow.errors import LabelsError, StudyError
from somaflow.tiles import discover_tiles, read_donor_table, read_tile, read_tile_labels
from tests.tiles.trees import DAPI, MARKER, get_row, write_flat_tile


def write_donors(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["tile_id,donor", *lines]) + "\n")
    return path


def test_flat_tile_is_found_with_its_labels(tmp_path: Path) -> None:
    """DAPI, marker and labels belong together by stem; other masks are ignored."""
    write_flat_tile(tmp_path, "gfap_6390", labels=True)
    np.save(tmp_path / "gfap_6390_dapimultimask.npy", DAPI)
    table = discover_tiles(tmp_path, layout="flat")
    row = get_row(table, "gfap_6390")
    assert len(table) == 1
    assert (row["status"], row["marker"], row["donor"], row["region"]) == ("ok", "GFAP", "", "")
    assert row["labels_path"] == str(tmp_path / "gfap_6390_cellbodies.npy")
    np.testing.assert_array_equal(read_tile(row), np.stack([DAPI, MARKER]))
    assert read_tile_labels(row).sum() == 16


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".TIF"])
@pytest.mark.parametrize(
    ("stem", "tile_id", "marker"),
    [
        ("olig2_8407jan22", "olig2_8407jan22", "OLIG2"),
        ("NeuN_12", "neun_12", "NeuN"),
        ("IBA1_7", "iba1_7", "IBA1"),
    ],
)
def test_flat_names_may_vary_in_case_ending_and_suffix(
    tmp_path: Path, ending: str, stem: str, tile_id: str, marker: str
) -> None:
    """Ids keep their suffix, the marker prefix becomes lower case, both endings count."""
    write_flat_tile(tmp_path, stem, ending)
    row = discover_tiles(tmp_path, layout="flat").iloc[0]
    assert (row["tile_id"], row["marker"], row["status"]) == (tile_id, marker, "ok")


def test_flat_number_is_never_a_donor(tmp_path: Path) -> None:
    """Without a table nobody knows the donor; with one it is text with its leading zeros."""
    write_flat_tile(tmp_path / "set", "gfap_6390")
    assert discover_tiles(tmp_path / "set", layout="flat")["donor"].tolist() == [""]
    donors = write_donors(tmp_path / "donors.csv", "GFAP_6390,00900001")
    table = discover_tiles(tmp_path / "set", layout="flat", donor_table=donors)
    assert table["donor"].tolist() == ["00900001"]


def test_flat_donor_table_and_tiles_report_what_does_not_match(tmp_path: Path) -> None:
    """A tile without a line is refused; a line without a tile is listed."""
    for stem in ("gfap_1", "gfap_2", "gfap_3"):
        write_flat_tile(tmp_path / "set", stem)
    donors = write_donors(tmp_path / "donors.csv", "gfap_1,07", "gfap_3,", "neun_9,08")
    table = discover_tiles(tmp_path / "set", layout="flat", donor_table=donors)
    assert table["status"].tolist() == ["ok", "refused", "refused"]
    assert table["donor"].tolist() == ["07", "", ""]
    assert "found no donor for gfap_2 (gfap_2.tiff and gfap_2_marker.tiff)" in table["reason"][1]
    assert table.attrs["unmatched_donor_rows"] == ["neun_9"]


def test_flat_without_a_donor_table_has_no_unmatched_rows(tmp_path: Path) -> None:
    """The list is there and empty, so nobody has to ask whether it exists."""
    write_flat_tile(tmp_path, "gfap_1")
    assert discover_tiles(tmp_path, layout="flat").attrs["unmatched_donor_rows"] == []


@pytest.mark.parametrize(
    ("missing", "left"),
    [("gfap_1_marker.tiff", "gfap_1.tiff"), ("gfap_1.tiff", "gfap_1_marker.tiff")],
)
def test_flat_tile_without_a_channel_is_refused(tmp_path: Path, missing: str, left: str) -> None:
    """The missing file is named beside the one that is there."""
    write_flat_tile(tmp_path, "gfap_1")
    (tmp_path / missing).unlink()
    row = discover_tiles(tmp_path, layout="flat").iloc[0]
    assert row["status"] == "refused"
    assert missing in row["reason"]
    assert left in row["reason"]


def test_flat_file_twice_is_refused(tmp_path: Path) -> None:
    """Of x.tif and x.tiff none is chosen."""
    write_flat_tile(tmp_path, "gfap_1")
    tifffile.imwrite(tmp_path / "gfap_1.tif", DAPI)
    row = discover_tiles(tmp_path, layout="flat").iloc[0]
    assert "gfap_1.tif and gfap_1.tiff" in row["reason"]


@pytest.mark.parametrize("name", ["overview.tif", "gfap_6390_overlay.tiff", "sox9_5.tiff"])
def test_flat_file_of_another_name_is_a_refused_row(tmp_path: Path, name: str) -> None:
    """An image that is no tile is counted and named, not overlooked."""
    write_flat_tile(tmp_path, "gfap_1")
    tifffile.imwrite(tmp_path / name, DAPI)
    table = discover_tiles(tmp_path, layout="flat")
    bad = table[table["status"] == "refused"]
    assert len(bad) == 1
    assert name in bad["reason"].item()


def test_flat_labels_that_do_not_fit_refuse_their_tile(tmp_path: Path) -> None:
    """Wrong shape and float labels are seen before any pixel is read."""
    write_flat_tile(tmp_path, "gfap_1")
    write_flat_tile(tmp_path, "gfap_2")
    np.save(tmp_path / "gfap_1_cellbodies.npy", np.zeros((11, 20), np.uint16))
    np.save(tmp_path / "gfap_2_cellbodies.npy", np.zeros((12, 20), np.float32))
    table = discover_tiles(tmp_path, layout="flat")
    assert table["status"].tolist() == ["refused", "refused"]
    assert "(11, 20)" in table["reason"][0]
    assert "gfap_2_cellbodies.npy is float32" in table["reason"][1]


def test_flat_tile_without_labels_has_none_to_read(tmp_path: Path) -> None:
    """Asking for labels that nobody drew is a LabelsError that names the tile."""
    write_flat_tile(tmp_path, "gfap_1")
    row = discover_tiles(tmp_path, layout="flat").iloc[0]
    with pytest.raises(LabelsError, match="gfap_1 has no labels_path"):
        read_tile_labels(row)


def test_flat_folder_without_a_tile_says_what_was_expected(tmp_path: Path) -> None:
    """An empty folder is a StudyError, not an empty table."""
    with pytest.raises(StudyError, match=r"flat expects gfap_6390\.tiff.*holds nothing"):
        discover_tiles(tmp_path, layout="flat")


def test_donor_table_keeps_text(tmp_path: Path) -> None:
    """Leading zeros stay, a byte-order mark and further columns do not disturb."""
    path = tmp_path / "donors.csv"
    path.write_text("\ufefftile_id,site,donor\ngfap_1,A,00123\n", encoding="utf-8")
    assert read_donor_table(path) == {"gfap_1": "00123"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"tile,donor\n", "lacks tile_id"),
        (b"tile_id;donor\n1;2\n", "lacks tile_id, donor"),
        (b"", "lacks tile_id, donor"),
        (b"tile_id,donor\na,1\na,2\n", r"'a' both '1' and '2' \(line 3\)"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'tile_id,donor\n"a,1\n', "is not"),
    ],
)
def test_donor_table_that_cannot_be_used_is_a_study_error(
    tmp_path: Path, content: bytes, found: str
) -> None:
    """Missing columns, other separators and two donors for a tile are named with the file."""
    path = tmp_path / "donors.csv"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=found) as caught:
        read_donor_table(path)
    assert str(path) in str(caught.value)
    with pytest.raises(StudyError, match=r"none\.csv is not"):
        read_donor_table(tmp_path / "none.csv")
