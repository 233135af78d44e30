"""One object owns every output path."""

import inspect
from pathlib import Path

import pytest

from somaflow.errors import StudyError
from somaflow.paths import DONORS, RunPaths, exported_image


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


def test_places_that_are_told_are_where_results_lie(tmp_path: Path) -> None:
    """The folders that a run names to people hold what is written under a key."""
    paths = RunPaths(tmp_path)
    keyed = [paths.labels("k"), paths.cells_folder("k"), paths.checkpoint("k"), paths.prepared("k")]
    written = [paths.reports, paths.tiles, paths.splits, *(path.parent for path in keyed)]
    written += [
        paths.experiment("e1-recipes", "k").parent.parent,
        paths.experiment(DONORS, "k").parent,
    ]
    assert set(written) == set(paths.places().values())


def test_exported_images_lie_by_donor_and_region(tmp_path: Path) -> None:
    """A donor's regions are folders in the donor's; what is unknown has no folder."""
    image = exported_image(tmp_path, "00900001", "grey", "GFAP_00900001_grey_Snap-1")
    assert "00900001/grey/GFAP_00900001_grey_Snap-1.ome.zarr" == str(image.relative_to(tmp_path))
    assert tmp_path / "a.ome.zarr" == exported_image(tmp_path, "", "", "a")
    assert tmp_path / "d" / "a.ome.zarr" == exported_image(tmp_path, "d", "", "a")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..", ".", ".hidden", "", "a\\b"])
def test_no_name_leads_out_of_the_outputs(tmp_path: Path, name: str) -> None:
    """A recipe, marker, key or stamp that is a path is refused wherever a path is made of it."""
    paths = RunPaths(tmp_path)
    makers = [
        *(paths.prepared, paths.checkpoint, paths.recipe, paths.report, paths.sweep),
        *(paths.evaluation, paths.labels, paths.cells_folder, paths.ledger, paths.plan),
        *(paths.claims, paths.run_record, paths.current_experiment),
        lambda key: paths.experiment("e1-recipes", key),
        lambda key: paths.experiment("e5-donors", key),
        lambda key: paths.experiment(key, "key"),
        lambda key: paths.donor_part("tile-quality", key),
        lambda key: paths.donor_part(key, "key"),
        lambda key: paths.label_array("key", key),
        lambda key: paths.label_shard(key, "8x8", 0),
        lambda key: paths.cells(key, 0),
        lambda key: paths.record(key, 0),
    ]
    for make in makers:
        with pytest.raises(StudyError, match="must be plain"):
            make(name)


def test_every_path_that_is_made_of_a_name_is_tried_above() -> None:
    """A new method of RunPaths that takes a name belongs into the test above."""
    takes_text = {
        name
        for name, method in inspect.getmembers(RunPaths, inspect.isfunction)
        if "str" in [str(hint) for hint in inspect.get_annotations(method).values()]
        or str in inspect.get_annotations(method).values()
    }
    tried = inspect.getsource(test_no_name_leads_out_of_the_outputs)
    assert len(takes_text) > 12
    assert [] == [name for name in takes_text if f"paths.{name}" not in tried and name[0] != "_"]


@pytest.mark.parametrize("name", ["hybrid-gated", "Iba 1-only", "αSyn-only", "a..b", "20261126T07"])
def test_ordinary_names_are_plain(tmp_path: Path, name: str) -> None:
    """Blanks and other alphabets are no danger."""
    assert tmp_path / "recipes" / f"{name}.yaml" == RunPaths(tmp_path).recipe(name)
