"""Tiles listed in a CSV file: what the user declares is taken, what is missing is not guessed."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from somaflow.errors import StudyError
from somaflow.tiles import discover_tiles, read_tile
from tests.tiles.trees import DAPI, MARKER, get_row

HEADER = "tile_id,marker,dapi_path,marker_path,donor,region,labels_path,dapi_channel,marker_channel"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file a channel and one with both."""
    tifffile.imwrite(tmp_path / "d.tif", DAPI)
    tifffile.imwrite(tmp_path / "m.tif", MARKER)
    both = np.stack([MARKER, DAPI])
    tifffile.imwrite(tmp_path / "both.tif", both, imagej=True, metadata={"axes": "CYX"})
    return tmp_path


def write_manifest(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("d.tif,m.tif,007,grey,,,", np.stack([DAPI, MARKER])),
        ("d.tif,,007,grey,,,", np.stack([DAPI, DAPI * 0])),
        (",m.tif,007,grey,,,", np.stack([MARKER * 0, MARKER])),
        ("both.tif,both.tif,007,grey,,1,0", np.stack([DAPI, MARKER])),
        ("d.tif,both.tif,007,grey,,0,0", np.stack([DAPI, MARKER])),
    ],
)
def test_manifest_tile_reads_as_declared(folder: Path, cells: str, expected: np.ndarray) -> None:
    """Paths are relative to the CSV, an empty one is zeros, channels are picked by number."""
    path = write_manifest(folder, f"t_1,gfap,{cells}")
    for root in (path, folder):
        row = discover_tiles(root, layout="manifest").iloc[0]
        assert (row["status"], row["reason"]) == ("ok", "")
        assert (row["tile_id"], row["marker"], row["donor"]) == ("t_1", "GFAP", "007")
        assert (row["region"], row["height_px"], row["width_px"]) == ("grey", 12, 20)
        np.testing.assert_array_equal(read_tile(row), expected)


def test_manifest_needs_three_columns_only(folder: Path) -> None:
    """Optional columns may be missing, further ones are ignored."""
    write_manifest(folder, "t,SOX9,d.tif,x", header="tile_id,marker,dapi_path,comment")
    row = discover_tiles(folder, layout="manifest").iloc[0]
    assert (row["status"], row["marker"], row["marker_path"]) == ("ok", "SOX9", "")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("t,GFAP,gone.tif,m.tif,,,,,", "gone.tif"),
        ("t,GFAP,d.tif,gone.tif,,,,,", "gone.tif"),
        ("t,GFAP,d.tif,m.tif,,,gone.npy,,", "gone.npy"),
        ("t,GFAP,d.tif,m.tif,,,d.tif.npy,,", "there is no"),
        ("t,GFAP,d.tif,d.tif,,,,,", "must be different images, both are"),
        ("t,GFAP,d.tif,d.tif,,,,,0", "must be different images, both are"),
        ("t,GFAP,both.tif,both.tif,,,,1,1", "must be different images, both are"),
        ("t,GFAP,both.tif,m.tif,,,,,", "both.tif has 2 (axes CYX"),
        ("t,GFAP,both.tif,m.tif,,,,2,", "channel must be 0..1, got 2"),
        (
            "t,GFAP,d.tif,m.tif,,,,first,",
            "dapi_channel must be 0, 1, 2 ... or empty, found 'first'",
        ),
        ("t,GFAP,,,,,,,", "found neither in"),
        ("t,,d.tif,m.tif,,,,,", "marker must be named"),
        ("a/b,GFAP,d.tif,m.tif,,,,,", "found 'a/b'"),
        ("..,GFAP,d.tif,m.tif,,,,,", "found '..'"),
        (",GFAP,d.tif,m.tif,,,,,", "found ''"),
        ("t", "marker must be named"),
    ],
)
def test_manifest_line_that_cannot_be_used_is_a_refused_row(
    folder: Path, line: str, found: str
) -> None:
    """The reason names what was found and where; the good line beside it stays."""
    write_manifest(folder, line, "good,GFAP,d.tif,m.tif,,,,,")
    table = discover_tiles(folder, layout="manifest")
    assert get_row(table, "good")["status"] == "ok"
    bad = table[table["status"] == "refused"]
    assert len(bad) == 1
    assert found in bad["reason"].item()
    assert "\n" not in bad["reason"].item()


def test_manifest_sizes_must_agree(folder: Path) -> None:
    """Channels of different size are no pair."""
    tifffile.imwrite(folder / "small.tif", DAPI[:10])
    write_manifest(folder, "t,GFAP,d.tif,small.tif,,,,,")
    reason = discover_tiles(folder, layout="manifest").iloc[0]["reason"]
    assert "d.tif is (12, 20)" in reason
    assert "small.tif (10, 20)" in reason


def test_manifest_duplicates_are_all_refused_with_their_lines(folder: Path) -> None:
    """None of the lines that share an id is taken for the right one."""
    line = "t,GFAP,d.tif,m.tif,,,,,"
    write_manifest(folder, line, "u,GFAP,d.tif,m.tif,,,,,", line)
    table = discover_tiles(folder, layout="manifest")
    assert table["status"].tolist() == ["refused", "refused", "ok"]
    assert all("on lines 2, 4" in reason for reason in table["reason"][:2])


def test_manifest_markers_not_asked_for_are_refused(folder: Path) -> None:
    """A list of markers is a promise about the manifest."""
    write_manifest(folder, "t,GFAP,d.tif,m.tif,,,,,", "u,SOX9,d.tif,m.tif,,,,,")
    table = discover_tiles(folder, layout="manifest", markers=["gfap"])
    assert table["status"].tolist() == ["ok", "refused"]
    assert "marker must be one of GFAP, found 'SOX9'" in table["reason"][1]


def test_manifest_donors_may_come_from_the_table(folder: Path) -> None:
    """The table fills empty donors; two sources that disagree refuse the tile."""
    lines = [f"{name},GFAP,d.tif,m.tif,{donor},,,," for name, donor in (("a", ""), ("b", "2"))]
    write_manifest(folder, *lines, "c,GFAP,d.tif,m.tif,,,,,")
    donors = folder / "donors.csv"
    donors.write_text("tile_id,donor\na,01\nb,03\nz,9\n")
    table = discover_tiles(folder, layout="manifest", donor_table=donors)
    assert table["donor"].tolist() == ["01", "2", ""]
    assert table["status"].tolist() == ["ok", "refused", "refused"]
    assert "donors 2 and 03" in table["reason"][1]
    assert table.attrs["unmatched_donor_rows"] == ["z"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("tile_id,dapi_path\nt,d.tif\n", "lacks marker"),
        ("tile_id,marker\nt,GFAP\n", "a column dapi_path or marker_path"),
        ("tile_id,marker,dapi_path\n", "has none"),
    ],
)
def test_manifest_that_cannot_be_used_is_a_study_error(
    folder: Path, content: str, found: str
) -> None:
    """What holds for the whole file is raised at once, with its name."""
    (folder / "manifest.csv").write_text(content)
    with pytest.raises(StudyError, match=rf"{found}") as caught:
        discover_tiles(folder, layout="manifest")
    assert "manifest.csv" in str(caught.value)
    with pytest.raises(StudyError, match=r"gone\.csv is not"):
        discover_tiles(folder / "gone.csv", layout="manifest")
