"""What an export refuses, all at once and before it writes."""

import json
import shutil
from pathlib import Path

import pytest
import tifffile

from somaflow.errors import BadInputError, OutputError, StoreError
from somaflow.export import Selection, export_tiles
from somaflow.ledger import read_plan
from somaflow.paths import RunPaths
from somaflow.recipes import Recipe
from somaflow.tiles import discover_tiles
from tests.export.conftest import Segmented
from tests.export.inferred import infer_tiles, plan_tiles
from tests.inference.study_files import write_tiles


def refusal(segmented: Segmented, selection: Selection, pixel_size_um: float | None = None) -> str:
    """The message of the refusal; nothing was written."""
    with pytest.raises(BadInputError) as refused:
        export_tiles(segmented.paths, segmented.target, selection, pixel_size_um)
    assert not segmented.target.exists()
    return str(refused.value)


def quarantine(segmented: Segmented, tile_id: str, reason: str) -> None:
    """Writes into the ledger that the tile was set aside."""
    for path in segmented.paths.ledger(segmented.key).glob("shard-*.json"):
        record = json.loads(path.read_text())
        for tile in record["tiles"]:
            if tile["tile_id"] == tile_id:
                tile["quarantined"] = reason
        path.write_text(json.dumps(record))


def shard_of(segmented: Segmented, tile_id: str) -> int:
    """Number of the shard that the tile lies in."""
    plan = read_plan(segmented.paths, segmented.key)
    return int(plan.set_index("tile_id").shard[tile_id])


def test_unknown_donors_and_tiles_are_named_together(segmented: Segmented) -> None:
    """Each unknown name is a line that says what there is; known ones beside it do not help."""
    message = refusal(segmented, Selection(donors=["d0", "d9"], tile_ids=["t000", "t099"]))
    first, *lines = message.splitlines()
    assert "2 problems, nothing was written:" == first
    assert "donor must be one of the 3 donors of the inference (d0, d1, d2), got 'd9'" in lines[0]
    assert "tile must be one of the 8 tiles of the inference" in lines[1]
    assert "got 't099'; see tiles.parquet" in lines[1]


@pytest.mark.parametrize("selection", [Selection(), Selection(donors=["d0"], every=True)])
def test_nothing_or_everything_and_something_is_refused(
    segmented: Segmented, selection: Selection
) -> None:
    """An export is of named tiles or of all, never of none by chance."""
    assert "either donors and tiles must be named or all" in refusal(segmented, selection)


def test_quarantined_and_unfinished_tiles_are_listed(own: Segmented) -> None:
    """Tiles without labels are refused with their reasons, all in one list."""
    quarantine(own, "t000", "TileError: truncated")
    shard = shard_of(own, "t001")
    own.paths.record(own.key, shard).unlink()
    message = refusal(own, Selection(tile_ids=["t000", "t001", "t099"]))
    assert message.startswith("3 problems, nothing was written:")
    assert "t000 was quarantined (TileError: truncated); mend it and run e5-inference" in message
    assert f"t001 lies in shard {shard}, which is not done or was damaged; run e5" in message
    assert "got 't099'" in message


def test_tiles_without_labels_are_left_out_on_request(own: Segmented) -> None:
    """With `skip_unsegmented` the others are exported, and the reasons come back."""
    quarantine(own, "t000", "TileError: truncated")
    done = export_tiles(own.paths, own.target, Selection(donors=["d0"], skip_unsegmented=True))
    assert ["t003", "t006"] == [tile.tile_id for tile in done.tiles]
    assert ["t000"] == list(done.left_out)
    assert "truncated" in done.left_out["t000"]


def test_damaged_shard_is_not_exported(own: Segmented) -> None:
    """Labels whose checksum does not hold count as not segmented."""
    shard = shard_of(own, "t000")
    path = own.paths.label_shard(own.key, "64x80", 0)
    path.write_bytes(path.read_bytes()[:-20])
    message = refusal(own, Selection(tile_ids=["t000"]))
    assert f"t000 lies in shard {shard}, which is not done or was damaged" in message


def test_study_without_inference_is_refused(tmp_path: Path) -> None:
    """The message says what to run."""
    with pytest.raises(StoreError, match=r"a study must have an inference .* run e5-inference"):
        export_tiles(RunPaths(tmp_path), tmp_path / "export", Selection(every=True))


def test_several_inferences_need_a_choice(own: Segmented) -> None:
    """Of two inferences one must be named; an unknown one is refused, and the named one is used."""
    other = plan_tiles(own.paths, own.tiles, Recipe(cellprob_threshold=1))
    message = refusal(own, Selection(tile_ids=["t000"]))
    assert "one inference must be chosen" in message
    assert own.key in message
    assert other in message
    assert "key must be one of" in refusal(own, Selection(tile_ids=["t000"], key="nowhere"))
    assert "t000 lies in shard 0, which is not done" in refusal(
        own, Selection(tile_ids=["t000"], key=other)
    )
    done = export_tiles(own.paths, own.target, Selection(tile_ids=["t000"], key=own.key))
    assert own.key == done.key


@pytest.mark.parametrize("pixel_size_um", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_pixel_size_is_refused(segmented: Segmented, pixel_size_um: float) -> None:
    """A pixel has a finite side above 0."""
    selection = Selection(tile_ids=["t000"])
    assert "pixel size must be above 0 um" in refusal(segmented, selection, pixel_size_um)


def test_changed_and_missing_images_are_refused(tmp_path: Path) -> None:
    """Labels are never exported with pixels other than those that they were made from."""
    tiles = discover_tiles(write_tiles(tmp_path / "tiles", 6), layout="manifest")
    paths = RunPaths(tmp_path / "output")
    key = plan_tiles(paths, tiles)
    infer_tiles(paths, key)
    marker = {str(row.tile_id): Path(str(row.marker_path)) for row in tiles.itertuples()}
    tifffile.imwrite(marker["t000"], 255 - tifffile.imread(marker["t000"]))
    marker["t001"].unlink()
    shutil.copy(marker["t003"], marker["t002"])  # of another shape
    segmented = Segmented(paths, tiles, key, tmp_path / "export")
    message = refusal(segmented, Selection(every=True))
    assert message.startswith("3 problems, nothing was written:")
    assert "image must be the one that was segmented, the cells of t000 do not measure" in message
    assert marker["t001"].name in message
    assert "t002" in message


def test_something_else_at_the_place_is_never_overwritten(segmented: Segmented) -> None:
    """An edited or foreign folder is refused, named and kept, and no other tile is written."""
    (tile,) = export_tiles(segmented.paths, segmented.target, Selection(tile_ids=["t000"])).tiles
    edited = tile.path / "labels" / "cells" / "0" / "c" / "0" / "0"
    edited.write_bytes(b"edited by hand")
    with pytest.raises(BadInputError, match=r"never overwritten.*first labels/cells/0/c/0/0"):
        export_tiles(segmented.paths, segmented.target, Selection(every=True))
    assert b"edited by hand" == edited.read_bytes()
    assert [tile.path] == list(segmented.target.rglob("*.ome.zarr"))


def test_folder_that_cannot_be_made_is_one_clear_error(segmented: Segmented) -> None:
    """A file in the place of the folder is refused in words."""
    segmented.target.write_text("in the way")
    with pytest.raises(OutputError, match="a file stands where a folder must be"):
        export_tiles(segmented.paths, segmented.target, Selection(tile_ids=["t000"]))
