"""What holds for every layout: whole tables, one line a bad tile, and headers only."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from somaflow.errors import BadInputError, StudyError, TileError
from somaflow.tiles import (
    COLUMNS,
    discover_tiles,
    read_tile,
    read_tile_labels,
    refuse_bad_tiles,
    report_refused,
)
from tests.tiles.trees import DAPI, MARKER, write_flat_tile, write_snap

PROCESS_IO = Path("/proc/self/io")


def test_table_is_sorted_typed_and_safe_as_file_names(tmp_path: Path) -> None:
    """Rows come by tile_id with a plain index, text as text, sizes as integers."""
    for snap in (103, 101, 102):
        write_snap(tmp_path, snap=snap)
    table = discover_tiles(tmp_path)
    assert table["tile_id"].tolist() == sorted(table["tile_id"])
    assert table.index.tolist() == [0, 1, 2]
    for name in COLUMNS:
        is_number = name in ("height_px", "width_px", "dapi_channel", "marker_channel")
        assert all(isinstance(value, int if is_number else str) for value in table[name].tolist())
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", tile_id) for tile_id in table["tile_id"])


def test_thirty_bad_files_give_thirty_lines(tmp_path: Path) -> None:
    """Every bad tile is one line that names its file, and nothing stops before the last."""
    for snap in range(30):
        folder = write_snap(tmp_path, snap=snap)
        (folder / f"Snap-{snap}_b0c1x0-20y0-12.tiff").write_bytes(b"II*\0 cut" if snap % 2 else b"")
    write_snap(tmp_path, snap=99)
    table = discover_tiles(tmp_path)
    lines = report_refused(table)
    assert len(lines) == 30
    for line, row in zip(lines, table[table["status"] == "refused"].itertuples(), strict=True):
        assert line.startswith(f"{row.tile_id}: ")
        assert row.marker_path in line
        assert "\n" not in line
    with pytest.raises(BadInputError) as caught:
        refuse_bad_tiles(table)
    assert str(caught.value).split("\n") == lines


def test_table_without_a_bad_tile_passes(tmp_path: Path) -> None:
    """Nothing is raised and nothing reported where all is well."""
    write_snap(tmp_path)
    table = discover_tiles(tmp_path)
    refuse_bad_tiles(table)
    assert report_refused(table) == []


def test_root_and_layout_are_checked_first(tmp_path: Path) -> None:
    """A missing root, a file as root and an unknown layout say what is wrong."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudyError, match=r"gone does not exist"):
        discover_tiles(tmp_path / "gone")
    with pytest.raises(StudyError, match=r"file is a file"):
        discover_tiles(tmp_path / "file")
    with pytest.raises(StudyError, match="one of rosmap, flat, manifest, got 'bids'"):
        discover_tiles(tmp_path, layout="bids")


def test_offset_that_no_pixel_can_reach_refuses_the_tile(tmp_path: Path) -> None:
    """An 8-bit tile cannot hold scanR's 16-bit offset."""
    write_flat_tile(tmp_path, "gfap_1")
    reason = discover_tiles(tmp_path, layout="flat", pixel_offset=32768).iloc[0]["reason"]
    assert "gfap_1.tiff is uint8" in reason


def test_relative_roots_give_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table can be used from another working folder than it was made in."""
    write_flat_tile(tmp_path / "set", "gfap_1", labels=True)
    monkeypatch.chdir(tmp_path)
    row = discover_tiles("set", layout="flat").iloc[0]
    for name in ("dapi_path", "marker_path", "labels_path"):
        assert Path(row[name]).is_absolute()


@pytest.mark.skipif(not PROCESS_IO.exists(), reason="counts the bytes read, as only Linux tells")
def test_discovery_does_not_read_the_pixels(tmp_path: Path) -> None:
    """Of 8 GB of (sparse) images a few kilobytes are read."""
    for name in ("gfap_1.tiff", "gfap_1_marker.tiff"):
        tifffile.imwrite(tmp_path / name, shape=(65_536, 65_536), dtype=np.uint8, bigtiff=True)
    before = read_n_bytes()
    row = discover_tiles(tmp_path, layout="flat").iloc[0]
    n_bytes = read_n_bytes() - before
    assert (row["status"], row["height_px"]) == ("ok", 65_536)
    assert n_bytes < 1_000_000


def read_n_bytes() -> int:
    return int(re.search(r"rchar: (\d+)", PROCESS_IO.read_text())[1])  # type: ignore[index]


@pytest.mark.long
def test_discovery_finds_all_of_fifteen_thousand_pairs(tmp_path: Path) -> None:
    """Thirty thousand images with as many XML files beside them give exactly 15,000 good rows."""
    source = write_snap(tmp_path / "source")
    dapi, marker = sorted(source.glob("*.tiff"))
    for number in range(15_000):
        donor, snap = f"{number // 250 + 1:08d}", f"Snap-{number}"
        region = "Grey" if number % 2 else "White"
        folder = tmp_path / "raw" / "GFAP" / "GFAP" / donor / region / f"{snap}.tiff_files"
        folder.mkdir(parents=True)
        for path, channel in ((dapi, "b0c0"), (marker, "b0c1")):
            (folder / f"{snap}_{channel}x0-20y0-12.tiff").hardlink_to(path)
            (folder / f"{snap}_{channel}x0-20y0-12.tiff_metadata.xml").touch()
    table = discover_tiles(tmp_path / "raw")
    assert len(table) == 15_000
    assert set(table["status"]) == {"ok"}
    assert table["tile_id"].is_unique


@pytest.mark.parametrize("kind", ["series", "named tuple", "mapping"])
def test_tile_can_be_read_from_any_kind_of_row(tmp_path: Path, kind: str) -> None:
    """A Series, a named tuple and a mapping give the same pixels and labels."""
    write_flat_tile(tmp_path, "gfap_1", labels=True)
    table = discover_tiles(tmp_path, layout="flat")
    series = table.iloc[0]
    row = {"series": series, "named tuple": next(table.itertuples()), "mapping": dict(series)}[kind]
    np.testing.assert_array_equal(read_tile(row), np.stack([DAPI, MARKER]))
    assert read_tile_labels(row).shape == (12, 20)


def test_tile_has_a_type_that_holds_both_channels(tmp_path: Path) -> None:
    """8-bit DAPI beside a 16-bit marker becomes 16-bit, without a changed value."""
    write_flat_tile(tmp_path, "gfap_1")
    wide = MARKER.astype(np.uint16) * 200
    tifffile.imwrite(tmp_path / "gfap_1_marker.tiff", wide)
    tile = read_tile(discover_tiles(tmp_path, layout="flat").iloc[0])
    assert tile.dtype == np.uint16
    np.testing.assert_array_equal(tile, np.stack([DAPI.astype(np.uint16), wide]))


def test_tile_offset_is_subtracted_from_both_channels(tmp_path: Path) -> None:
    """pixel_offset gives the values the microscope measured."""
    write_flat_tile(tmp_path, "gfap_1")
    for name, plane in (("gfap_1.tiff", DAPI), ("gfap_1_marker.tiff", MARKER)):
        tifffile.imwrite(tmp_path / name, plane.astype(np.uint16) + 32768)
    row = discover_tiles(tmp_path, layout="flat", pixel_offset=32768).iloc[0]
    np.testing.assert_array_equal(read_tile(row, pixel_offset=32768), np.stack([DAPI, MARKER]))


def test_tile_changed_since_discovery_is_refused_when_read(tmp_path: Path) -> None:
    """Sizes are compared again, since files change between discovery and use."""
    write_flat_tile(tmp_path, "gfap_1")
    row = discover_tiles(tmp_path, layout="flat").iloc[0]
    tifffile.imwrite(tmp_path / "gfap_1_marker.tiff", MARKER[:5])
    with pytest.raises(TileError, match=r"gfap_1 has \(5, 20\) and \(12, 20\)"):
        read_tile(row)


def test_refused_tile_is_not_read(tmp_path: Path) -> None:
    """Reading a refused tile repeats its reason."""
    write_flat_tile(tmp_path, "gfap_1")
    (tmp_path / "gfap_1_marker.tiff").write_bytes(b"")
    row = discover_tiles(tmp_path, layout="flat").iloc[0]
    with pytest.raises(TileError, match=r"gfap_1 is refused: .*gfap_1_marker\.tiff has 0 bytes"):
        read_tile(row)


def test_table_survives_parquet(tmp_path: Path) -> None:
    """A stored table reads back the same, so that its rows read the same tiles."""
    write_flat_tile(tmp_path, "gfap_1", labels=True)
    table = discover_tiles(tmp_path, layout="flat")
    table.to_parquet(tmp_path / "tiles.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "tiles.parquet"), table)
