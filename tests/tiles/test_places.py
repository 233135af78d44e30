"""Tiles lie where the study says, or are refused: links and `..` may lead anywhere."""

from pathlib import Path

import pandas as pd
import pytest
import tifffile
import yaml

from somaflow.inventory import discover_study
from somaflow.study import load_study
from somaflow.tiles import discover_tiles
from somaflow.tiles.places import Places
from tests.tiles.trees import DAPI, MARKER, get_row, write_flat_tile, write_snap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tile folder with one good tile, beside another disk."""
    write_snap(tmp_path / "tiles")
    write_snap(tmp_path / "disk", marker="NeuN", names=("dapi-b0c0", "NeuN-b0c1"))
    return tmp_path / "tiles"


def reasons(table: pd.DataFrame) -> list[str]:
    return table.reason[table.status == "refused"].tolist()


def test_linked_folder_outside_is_one_refused_row(root: Path) -> None:
    """It is not looked into; the row says where it leads and what to write."""
    disk = root.parent / "disk"
    (root / "NeuN").symlink_to(disk / "NeuN")
    table = discover_tiles(root)
    assert "ok" == get_row(table, "GFAP_00900001_grey_Snap-101").status
    (reason,) = reasons(table)
    assert f"{root}/NeuN leads out of it, to {disk}/NeuN" in reason
    assert f"name {disk} (or a folder above it) in `also_in`" in reason


@pytest.mark.parametrize("named", ["disk/NeuN", "disk", "."])
def test_linked_folder_in_a_named_place_is_followed(root: Path, named: str) -> None:
    """A marker on another disk, linked on purpose: its folder or one above it is named."""
    (root / "NeuN").symlink_to(root.parent / "disk" / "NeuN")
    table = discover_tiles(root, also_in=[root.parent / named])
    assert {"GFAP", "NeuN"} == set(table.marker)
    assert {"ok"} == set(table.status)


def test_link_to_a_large_tree_is_not_walked(root: Path) -> None:
    """One row, and not its thousands of files."""
    (root / "all").symlink_to("/usr")
    table = discover_tiles(root)
    assert 2 == len(table)
    assert "leads out of it, to /usr" in reasons(table)[0]


def test_links_inside_and_a_root_that_is_a_link_are_fine(root: Path, tmp_path: Path) -> None:
    """What stays in the folder may be linked as anybody likes."""
    (root / "gfap2").mkdir()
    (root / "gfap2" / "x").symlink_to(root / "GFAP" / "GFAP")
    link = tmp_path / "link"
    link.symlink_to(root)
    assert [] == [reason for reason in reasons(discover_tiles(link)) if "leads out" in reason]


def test_linked_file_outside_is_refused_unread(root: Path, tmp_path: Path) -> None:
    """A tile of which one file is a link to somewhere else."""
    secret = tmp_path / "secret.tiff"
    tifffile.imwrite(secret, DAPI)
    (victim,) = root.glob("*/*/*/*/*/*b0c0*.tiff")
    victim.unlink()
    victim.symlink_to(secret)
    (reason,) = reasons(discover_tiles(root))
    assert f"{victim} leads out of it, to {secret}" in reason
    assert [] == reasons(discover_tiles(root, also_in=[tmp_path]))


@pytest.mark.parametrize("name", ["gfap_1.tiff", "gfap_1_marker.tiff", "gfap_1_cellbodies.npy"])
def test_flat_layout_refuses_links_that_lead_out(tmp_path: Path, name: str) -> None:
    """Images and labels alike."""
    folder = tmp_path / "flat"
    write_flat_tile(folder, "gfap_1", labels=True)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    (reason,) = reasons(discover_tiles(folder, layout="flat"))
    assert f"{folder / name} leads out of it, to {tmp_path / name}" in reason


def write_manifest(folder: Path, path: object) -> Path:
    folder.mkdir(exist_ok=True)
    manifest = folder / "manifest.csv"
    manifest.write_text(f"tile_id,marker,dapi_path\nt,GFAP,{path}\n")
    return manifest


@pytest.mark.parametrize("path", ["../outside.tif", "x/../../outside.tif", "link/outside.tif"])
def test_relative_path_of_a_manifest_stays_in_its_folder(tmp_path: Path, path: str) -> None:
    """Neither dots nor links lead out of it; whoever means it names the place."""
    tifffile.imwrite(tmp_path / "outside.tif", MARKER)
    manifest = write_manifest(tmp_path / "set", path)
    (tmp_path / "set" / "x").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path)
    (reason,) = reasons(discover_tiles(manifest, layout="manifest"))
    assert "leads out of it" in reason and "outside.tif" in reason
    for root in (manifest, manifest.parent):
        assert [] == reasons(discover_tiles(root, layout="manifest", also_in=[tmp_path]))


def test_absolute_path_of_a_manifest_names_its_own_place(tmp_path: Path) -> None:
    """Data may lie anywhere, if the manifest says so; what it says must not be a link away."""
    (tmp_path / "data").mkdir()
    tifffile.imwrite(tmp_path / "data" / "d.tif", DAPI)
    tifffile.imwrite(tmp_path / "outside.tif", DAPI)
    (tmp_path / "data" / "link.tif").symlink_to(tmp_path / "outside.tif")
    manifest = write_manifest(tmp_path / "set", tmp_path / "data" / "d.tif")
    assert [] == reasons(discover_tiles(manifest, layout="manifest"))
    manifest = write_manifest(tmp_path / "set", tmp_path / "data" / "link.tif")
    (reason,) = reasons(discover_tiles(manifest, layout="manifest"))
    assert f"leads out of it, to {tmp_path / 'outside.tif'}" in reason


def test_marker_that_is_a_path_is_refused(tmp_path: Path) -> None:
    """Files are called after markers: `../x` would be written outside of the outputs."""
    tifffile.imwrite(tmp_path / "d.tif", DAPI)
    for marker in ("../x", "a/b", ".hidden"):
        (tmp_path / "manifest.csv").write_text(f"tile_id,marker,dapi_path\nt,{marker},d.tif\n")
        (reason,) = reasons(discover_tiles(tmp_path, layout="manifest"))
        assert f"without slashes, found '{marker}'" in reason


def test_study_names_further_places_relative_to_its_file(root: Path, tmp_path: Path) -> None:
    """Refused without, used with `also_in`."""
    (root / "NeuN").symlink_to(tmp_path / "disk" / "NeuN")
    path = tmp_path / "study.yaml"
    for also_in, n_refused in ([], 1), (["disk"], 0):
        tiles = {"root": "tiles", "also_in": also_in}
        path.write_text(yaml.safe_dump({"name": "s", "tiles": tiles, "output": "output"}))
        assert n_refused == len(reasons(discover_study(load_study(path))))


def test_places_know_folders_by_what_they_are(tmp_path: Path) -> None:
    """A folder whose name begins alike is another one; a link stands for its target."""
    for name in ("a", "ab"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ab")
    places = Places([tmp_path / "a"])
    assert "" == places.find_stray(tmp_path / "a" / "x" / "y")
    assert str(tmp_path / "ab" / "x") == places.find_stray(tmp_path / "ab" / "x")
    places.admit(tmp_path / "link")
    assert "" == places.find_stray(tmp_path / "ab" / "x")
