"""One object owns every output path."""

from pathlib import Path

from somaflow.paths import RunPaths, exported_image


def test_write_current_keeps_what_it_replaces(tmp_path: Path) -> None:
    """A file whose name holds no key is never lost when its content changes."""
    paths = RunPaths(tmp_path)
    assert paths.write_current(paths.splits, b"first")
    assert not paths.write_current(paths.splits, b"first")
    assert paths.write_current(paths.splits, b"second")
    assert b"second" == paths.splits.read_bytes()
    assert [b"first"] == [path.read_bytes() for path in (tmp_path / "previous").iterdir()]


def test_everything_lies_below_the_output_folder(tmp_path: Path) -> None:
    """No path leaves the study's output folder, and those of different keys differ."""
    paths = RunPaths(tmp_path)
    of_keys = [
        [paths.prepared(k), paths.evaluation(k), paths.labels(k), paths.plan(k), paths.sweep(k),
         paths.checkpoint(k), paths.experiment("e1-recipes", k),
         paths.cells(k, 3), paths.record(k, 3), paths.label_shard(k, "64x80", 3)]
        for k in ("one", "two")
    ]  # fmt: skip
    flat = [path for group in of_keys for path in group]
    assert all(tmp_path in path.parents for path in flat)
    assert len(flat) == len(set(flat))


def test_exported_images_lie_by_donor_and_region(tmp_path: Path) -> None:
    """A donor's regions are folders in the donor's; what is unknown has no folder."""
    image = exported_image(tmp_path, "00900001", "grey", "GFAP_00900001_grey_Snap-1")
    assert "00900001/grey/GFAP_00900001_grey_Snap-1.ome.zarr" == str(image.relative_to(tmp_path))
    assert tmp_path / "a.ome.zarr" == exported_image(tmp_path, "", "", "a")
    assert tmp_path / "d" / "a.ome.zarr" == exported_image(tmp_path, "d", "", "a")
