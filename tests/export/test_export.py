"""Which tiles are written where; a killed export, and one that is run again."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from somaflow.export import Selection, export_tiles
from somaflow.labelstore import open_labels
from somaflow.paths import RunPaths
from somaflow.tiles import discover_tiles
from tests.conftest import REPOSITORY
from tests.export.conftest import Segmented
from tests.export.inferred import infer_tiles, plan_tiles, write_segmented_study
from tests.inference.study_files import tree_digest, write_tiles


def exported_ids(folder: Path) -> set[str]:
    """Tiles that lie below the folder."""
    return {path.name.removesuffix(".ome.zarr") for path in folder.rglob("*.ome.zarr")}


def test_donors_and_tiles_add_up(segmented: Segmented) -> None:
    """All tiles of the named donors and the named tiles are exported, each once, and no other."""
    selection = Selection(donors=["d1"], tile_ids=["t004", "t000"])
    done = export_tiles(segmented.paths, segmented.target, selection)
    expected = {"t000"} | set(segmented.tiles.tile_id[segmented.tiles.donor == "d1"])
    assert len(expected) == len(done.tiles)
    assert expected == exported_ids(segmented.target)
    assert all(tile.path.is_dir() and tile.written for tile in done.tiles)
    assert segmented.target / "d0" / "t000.ome.zarr" == done.tiles[0].path


def test_levels_of_labels_hold_only_ids_of_the_tile(segmented: Segmented) -> None:
    """No coarser level of the labels has an id that the tile does not have."""
    store = open_labels(segmented.paths.labels(segmented.key))
    done = export_tiles(segmented.paths, segmented.target, Selection(every=True))
    n_levels = 0
    for tile in done.tiles:
        ids = np.unique(store.read(tile.tile_id))
        cells = zarr.open_group(tile.path / "labels" / "cells", mode="r")
        for _, level in cells.arrays():
            assert set(np.unique(np.asarray(level[:]))) <= set(ids)
            n_levels += 1
    assert 4 * 1 + 4 * 3 == n_levels


def test_second_export_touches_nothing(segmented: Segmented) -> None:
    """A tile whose very files are there is left as it is, and new ones are added."""
    first = export_tiles(segmented.paths, segmented.target, Selection(tile_ids=["t000"]))
    before = {path: path.stat().st_mtime_ns for path in first.tiles[0].path.rglob("*")}
    second = export_tiles(segmented.paths, segmented.target, Selection(donors=["d0"]))
    assert {"t000": False, "t003": True, "t006": True} == {
        tile.tile_id: tile.written for tile in second.tiles
    }
    assert before == {path: path.stat().st_mtime_ns for path in first.tiles[0].path.rglob("*")}


def test_progress_ends_at_its_total(segmented: Segmented) -> None:
    """Every tile counts once when it is checked and once when it is done."""
    steps: list[tuple[int, int]] = []
    export_tiles(
        segmented.paths,
        segmented.target,
        Selection(donors=["d2"]),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert [(1, 4), (2, 4), (3, 4), (4, 4)] == steps


def test_pixels_are_those_that_were_segmented(tmp_path: Path) -> None:
    """The pixel offset is subtracted as it was; an absent channel is zeros and starts hidden."""
    manifest = write_tiles(tmp_path / "tiles", 1)
    marker = tmp_path / "tiles" / "t000_marker.tif"
    tifffile.imwrite(marker, tifffile.imread(marker).astype(np.uint16) + 32768)
    manifest.write_text(manifest.read_text().replace("t000_dapi.tif", ""))
    paths = RunPaths(tmp_path / "output")
    tiles = discover_tiles(manifest, layout="manifest")
    key = plan_tiles(paths, tiles, pixel_offset=32768)
    infer_tiles(paths, key, pixel_offset=32768)
    (tile,) = export_tiles(paths, tmp_path / "export", Selection(every=True)).tiles
    group = zarr.open_group(tile.path, mode="r")
    dapi, exported = np.asarray(group["0"])
    assert np.array_equal(tifffile.imread(marker) - 32768, exported)
    assert not dapi.any()
    shown = group.attrs["ome"]["omero"]["channels"]
    assert [False, True] == [channel["active"] for channel in shown]
    assert [0, 1] == [shown[0]["window"]["start"], shown[0]["window"]["end"]]


def test_no_donor_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Whatever a donor is called, its images lie below the folder that was asked for."""
    manifest = write_tiles(tmp_path / "tiles", 2)
    manifest.write_text(manifest.read_text().replace("d0", "../../up").replace("d1", "a b"))
    paths = RunPaths(tmp_path / "output")
    key = plan_tiles(paths, discover_tiles(manifest, layout="manifest"))
    infer_tiles(paths, key)
    done = export_tiles(paths, tmp_path / "export", Selection(every=True))
    expected = {tmp_path / "export" / "up/t000.ome.zarr", tmp_path / "export" / "a-b/t001.ome.zarr"}
    assert expected == {tile.path for tile in done.tiles}


@pytest.mark.parametrize(("n_synced", "n_whole"), [(1, 0), (12, 0), (40, 1)])
def test_killed_export_leaves_whole_tiles_and_is_finished_by_the_next(
    segmented: Segmented, n_synced: int, n_whole: int
) -> None:
    """Killed after any file, no tile is half there; run again, all is as if undisturbed."""
    script = f"""
import os, signal
from pathlib import Path
from somaflow.export import Selection, export_tiles
from somaflow.paths import RunPaths
sync, left = os.fsync, [{n_synced}]
def sync_or_die(descriptor):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = sync_or_die
export_tiles(
    RunPaths(Path({str(segmented.paths.output)!r})),
    Path({str(segmented.target)!r}),
    Selection(every=True),
)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False)
    assert -9 == killed.returncode
    undisturbed = segmented.target.with_name("undisturbed")
    export_tiles(segmented.paths, undisturbed, Selection(every=True))
    expected = tree_digest(undisturbed)
    found = list(segmented.target.rglob("*.ome.zarr"))
    assert n_whole == len(found)
    for path in found:
        place = path.relative_to(segmented.target)
        assert tree_digest(undisturbed / place) == tree_digest(path)
    assert [] != list(segmented.target.rglob("*tmp*")), "it was killed while it wrote"
    export_tiles(segmented.paths, segmented.target, Selection(every=True))
    assert expected == tree_digest(segmented.target)


def test_command_exports_a_donor_and_says_where(tmp_path: Path) -> None:
    """`somaflow export` writes folders by donor and region, and prints each."""
    study = write_segmented_study(tmp_path / "study")
    donor = sorted((tmp_path / "study" / "tiles" / "GFAP" / "GFAP").iterdir())[0].name
    done = run_export(study, tmp_path / "out", "--donor", donor)
    assert 0 == done.returncode, done.stderr
    *written, summary = done.stdout.splitlines()
    assert written == [str(path) for path in sorted((tmp_path / "out").rglob("*.ome.zarr"))]
    assert {"grey", "white"} >= {Path(line).parent.name for line in written} != set()
    assert {donor} == {Path(line).parent.parent.name for line in written}
    assert f"{len(written)} tile(s) written to {tmp_path / 'out'}, 0 there already" in summary


def test_command_without_a_choice_is_refused(tmp_path: Path) -> None:
    """Neither donor, tile nor --all: one line on standard error, exit code 1, nothing written."""
    study = write_segmented_study(tmp_path / "study")
    done = run_export(study, tmp_path / "out")
    assert 1 == done.returncode
    assert done.stderr.startswith("somaflow: either donors and tiles must be named or all tiles")
    assert 1 == len(done.stderr.splitlines())
    assert not (tmp_path / "out").exists()


def run_export(study: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command as a user would run it."""
    return subprocess.run(
        [sys.executable, "-m", "somaflow", "export", str(study), str(folder), *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
