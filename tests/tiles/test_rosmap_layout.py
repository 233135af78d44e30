"""The layout of the whole study, with the traps of its real export."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from somaflow.errors import StudyError
from somaflow.tiles import COLUMNS, discover_tiles, read_tile, report_refused
from tests.tiles.trees import DAPI, MARKER, get_row, write_snap


def test_rosmap_tile_has_donor_marker_region_and_both_channels(tmp_path: Path) -> None:
    """A whole tile is found with everything its folders and names tell, and reads as grey."""
    folder = write_snap(tmp_path)
    table = discover_tiles(tmp_path)
    assert list(table.columns) == list(COLUMNS)
    row = table.iloc[0]
    assert dict(row) == {
        "tile_id": "GFAP_00900001_grey_Snap-101",
        "donor": "00900001",
        "marker": "GFAP",
        "region": "grey",
        "dapi_path": str(folder / "Snap-101_b0c0x0-20y0-12.tiff"),
        "marker_path": str(folder / "Snap-101_b0c1x0-20y0-12.tiff"),
        "height_px": 12,
        "width_px": 20,
        "status": "ok",
        "reason": "",
        "labels_path": "",
        "dapi_channel": -1,
        "marker_channel": -1,
    }
    np.testing.assert_array_equal(read_tile(row), np.stack([DAPI, MARKER]))


@pytest.mark.parametrize(
    ("folder_name", "marker"),
    [("gfap", "GFAP"), ("NEUN", "NeuN"), ("iba1", "IBA1"), ("Olig2", "OLIG2")],
)
@pytest.mark.parametrize("names", [("b0c0", "b0c1"), ("b0c0", "b0c2")])
def test_rosmap_marker_folders_in_any_case_are_spelled_canonically(
    tmp_path: Path, folder_name: str, marker: str, names: tuple[str, str]
) -> None:
    """The table knows four spellings, whatever the disk has; the marker may be channel 1 or 2."""
    write_snap(tmp_path, marker=folder_name, names=names)
    row = discover_tiles(tmp_path).iloc[0]
    assert (row["marker"], row["status"]) == (marker, "ok")
    assert names[1] in row["marker_path"]


def test_rosmap_neun_names_are_understood(tmp_path: Path) -> None:
    """NeuN files say dapi- and NeuN- before the channel."""
    write_snap(tmp_path, marker="NeuN", names=("dapi-b0c0", "NeuN-b0c1"))
    row = discover_tiles(tmp_path).iloc[0]
    assert row["status"] == "ok"
    assert Path(row["marker_path"]).name == "Snap-101_NeuN-b0c1x0-20y0-12.tiff"


def test_rosmap_folders_named_like_channels_confuse_nobody(tmp_path: Path) -> None:
    """Channels are told by the file's name alone, even under a root called b0c1 and c0."""
    root = tmp_path / "x_b0c1" / "c0"
    write_snap(root)
    row = discover_tiles(root).iloc[0]
    assert row["status"] == "ok"
    np.testing.assert_array_equal(read_tile(row)[1], MARKER)


@pytest.mark.parametrize("projid", ["900001", "00900001"])
def test_rosmap_donors_are_eight_digits_as_text(tmp_path: Path, projid: str) -> None:
    """Leading zeros lost in a folder's name are put back."""
    write_snap(tmp_path, projid=projid)
    assert discover_tiles(tmp_path)["donor"].tolist() == ["00900001"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"names": ("b0c0", "")}, "must have a marker image"),
        ({"names": ("", "b0c1")}, "must have a DAPI image"),
        ({"names": ("", "")}, "found no image"),
        ({"names": ("b0c0", "b0c3")}, "found Snap-101_b0c3"),
        ({"names": ("dapi-b0c0", "dapi-b0c1")}, "found Snap-101_dapi-b0c1"),
        ({"names": ("GFAP-b0c0", "dapi-b0c1")}, "found Snap-101_GFAP-b0c0"),
        ({"names": ("dapi-b0c0", "NeuN-b0c1")}, "found Snap-101_NeuN-b0c1"),
        ({"projid": "c0c1_donor_unknown"}, "found 'c0c1_donor_unknown'"),
        ({"projid": "123456789"}, "found '123456789'"),
        ({"region": "Purple"}, "found 'Purple'"),
        ({"marker": "SOX9"}, "found 'SOX9'"),
    ],
)
def test_rosmap_tile_that_cannot_be_used_is_a_row_with_its_reason(
    tmp_path: Path, options: dict, found: str
) -> None:
    """One line names the place, what was found and what to do; good tiles are not touched."""
    folder = write_snap(tmp_path, snap=101, **options)
    write_snap(tmp_path, snap=102)
    table = discover_tiles(tmp_path)
    bad = table[table["status"] == "refused"].iloc[0]
    assert table["status"].tolist().count("ok") == 1
    assert found in bad["reason"]
    assert str(folder) in bad["reason"]
    assert "; " in bad["reason"]
    assert report_refused(table) == [f"{bad['tile_id']}: {bad['reason']}"]


def test_rosmap_two_candidates_for_one_channel_are_refused(tmp_path: Path) -> None:
    """Which of c1 and c2 is the marker is not guessed."""
    folder = write_snap(tmp_path)
    tifffile.imwrite(folder / "Snap-101_b0c2x0-20y0-12.tiff", MARKER)
    reason = discover_tiles(tmp_path).iloc[0]["reason"]
    assert "one marker image" in reason
    assert "Snap-101_b0c1x0-20y0-12.tiff and Snap-101_b0c2x0-20y0-12.tiff" in reason


def test_rosmap_marker_that_links_to_dapi_is_refused(tmp_path: Path) -> None:
    """A missing marker never becomes a copy of DAPI by way of a link."""
    folder = write_snap(tmp_path, names=("b0c0", ""))
    (folder / "Snap-101_b0c1x0-20y0-12.tiff").symlink_to(folder / "Snap-101_b0c0x0-20y0-12.tiff")
    assert "different images" in discover_tiles(tmp_path).iloc[0]["reason"]


def test_rosmap_same_tile_in_two_donor_folders_is_refused_twice(tmp_path: Path) -> None:
    """900001 and 00900001 are one donor, so the same snap in both is nobody's."""
    folders = [write_snap(tmp_path, projid=projid) for projid in ("900001", "00900001")]
    table = discover_tiles(tmp_path)
    assert table["status"].tolist() == ["refused", "refused"]
    for reason in table["reason"]:
        assert all(str(folder) in reason for folder in folders)


def test_rosmap_marker_folders_that_disagree_are_refused(tmp_path: Path) -> None:
    """A NeuN folder inside GFAP is a misplaced tile."""
    write_snap(tmp_path)
    (tmp_path / "GFAP" / "GFAP").rename(tmp_path / "GFAP" / "NeuN")
    assert "found GFAP and NeuN" in discover_tiles(tmp_path).iloc[0]["reason"]


def test_rosmap_tile_at_another_depth_is_refused(tmp_path: Path) -> None:
    """A tile outside the layout is counted, not overlooked."""
    write_snap(tmp_path)
    folder = tmp_path / "GFAP" / "loose"
    folder.mkdir()
    tifffile.imwrite(folder / "Snap-7_b0c0x0-20y0-12.tiff", DAPI)
    table = discover_tiles(tmp_path)
    row = get_row(table, "GFAP_loose")
    assert (len(table), row["status"]) == (2, "refused")
    assert str(folder) in row["reason"]


def test_rosmap_pecam_is_skipped_and_unasked_markers_too(tmp_path: Path) -> None:
    """What nobody asked for is a row that is skipped, not refused."""
    for marker in ("PECAM", "GFAP", "NeuN"):
        write_snap(tmp_path, marker=marker)
    table = discover_tiles(tmp_path, markers=["gfap"])
    assert dict(zip(table["marker"], table["status"], strict=True)) == {
        "GFAP": "ok",
        "NeuN": "skipped",
        "PECAM": "skipped",
    }
    assert get_row(table, "PECAM_00900001_grey_Snap-101")["reason"] == "PECAM has no cell bodies"
    assert report_refused(table) == []


def test_rosmap_takes_a_further_marker_when_asked(tmp_path: Path) -> None:
    """A marker beyond the four is used where it is named."""
    write_snap(tmp_path, marker="sox9")
    assert discover_tiles(tmp_path, markers=["SOX9"]).iloc[0]["marker"] == "SOX9"


def test_rosmap_hidden_files_and_loops_are_left_alone(tmp_path: Path) -> None:
    """Files of macOS are no images, and a link back to the root does not go round for ever."""
    folder = write_snap(tmp_path)
    (folder / "._Snap-101_b0c1x0-20y0-12.tiff").write_bytes(b"mac")
    (tmp_path / ".DS_Store").write_bytes(b"mac")
    (tmp_path / "GFAP" / "loop").symlink_to(tmp_path)
    assert discover_tiles(tmp_path)["status"].tolist() == ["ok"]


def test_rosmap_folder_that_cannot_be_listed_is_a_refused_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A donor folder without permission is counted with its reason; the others are found."""
    write_snap(tmp_path)
    closed = write_snap(tmp_path, projid="00000002").parents[1]
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if folder == closed:
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("somaflow.tiles.folders.os.scandir", refuse)
    table = discover_tiles(tmp_path)
    assert table["status"].tolist() == ["ok", "refused"]
    assert f"{closed} is not: Permission denied" in table["reason"][1]


def test_rosmap_root_without_a_tile_says_what_was_expected_and_seen(tmp_path: Path) -> None:
    """The wrong folder is told apart from an empty one."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StudyError, match=r"rosmap expects <MARKER>.*photos/, notes\.txt"):
        discover_tiles(tmp_path)


def test_rosmap_does_not_take_a_donor_table(tmp_path: Path) -> None:
    """Two sources of donors would have to agree; the folders are the one."""
    write_snap(tmp_path)
    with pytest.raises(StudyError, match="takes donors from its folders"):
        discover_tiles(tmp_path, donor_table=tmp_path / "donors.csv")


def test_rosmap_example_tree_has_the_right_status_for_every_tile(shared_data: Path) -> None:
    """The tree with the real export's traps: seven good tiles, three refused for their reason."""
    table = discover_tiles(shared_data / "awkward" / "rosmap_like_tree" / "raw")
    found = dict(zip(table["tile_id"], table["status"], strict=True))
    assert found == {
        "GFAP_00900001_grey_Snap-101": "ok",
        "GFAP_00900001_white_Snap-102": "ok",
        "GFAP_90000002_grey_Snap-103": "ok",
        "IBA1_00900001_grey_Snap-104": "ok",
        "IBA1_90000003_grey_Snap-105": "refused",
        "NeuN_90000002_grey_Snap-106": "ok",
        "NeuN_90000003_grey_Snap-107": "ok",
        "OLIG2_00900001_grey_Snap-110": "refused",
        "OLIG2_90000003_grey_Snap-108": "ok",
        "OLIG2_c0c1_donor_unknown_grey_Snap-109": "refused",
    }
    lines = report_refused(table)
    for line, name, words in zip(
        lines,
        ("Snap-105_b0c0x0-173y0-130.tiff", "Snap-110_b0c1x0-173y0-130.tiff", "c0c1_donor_unknown"),
        ("must have a marker image", "is truncated", "projid of at most 8 digits"),
        strict=True,
    ):
        assert name in line
        assert words in line
    for row in table[table["status"] == "ok"].itertuples():
        tile = read_tile(row)
        expected = [tifffile.imread(path) for path in (row.dapi_path, row.marker_path)]
        greys = [image if image.ndim == 2 else image[..., 1] for image in expected]
        np.testing.assert_array_equal(tile, np.stack(greys))
