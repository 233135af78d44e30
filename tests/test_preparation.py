"""The folder that Cellpose can open."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from somaflow.errors import LabelsError, StoreError, TileError
from somaflow.preparation import PREPARED_COLUMNS, open_prepared, write_prepared
from somaflow.splits import SPLIT_NAMES, Splits

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
SHAPE = (40, 52)


class Study:
    """Eight tiles of four donors, kept in memory, with a count of how often they are read."""

    def __init__(self) -> None:
        donors = [donor for donor in "abcd" for _ in range(2)]
        self.table = pd.DataFrame(
            {
                "tile_id": [f"{donor}/Snap-{i}" for i, donor in enumerate(donors)],
                "donor": donors,
                "marker": ["GFAP", "NeuN"] * 4,
            }
        )
        units = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
        self.splits = Splits("donor", 0, FRACTIONS, units)
        rng = np.random.default_rng(0)
        ids = self.table["tile_id"]
        self.images = {i: rng.integers(0, 4000, (2, *SHAPE)).astype(np.uint16) for i in ids}
        self.labels = {i: np.zeros(SHAPE, np.uint32) for i in ids}
        for n, labels in enumerate(self.labels.values()):
            for cell in range(n):
                labels[4 * cell : 4 * cell + 3, 5:9] = cell + 1
        self.n_read = 0

    def read(self, row) -> np.ndarray:
        self.n_read += 1
        return self.images[row.tile_id]

    def write(self, folder: Path) -> pd.DataFrame:
        return write_prepared(
            self.table, self.splits, folder, self.read, lambda row: self.labels[row.tile_id]
        )


@pytest.fixture
def study() -> Study:
    return Study()


def test_prepared_folder_opens_in_cellpose(study, tmp_path):
    """Cellpose's own reader gives the same images and labels, those of the split alone."""
    from cellpose import io

    prepared = study.write(tmp_path)
    for split in SPLIT_NAMES:
        images, labels, names, *_ = io.load_train_test_data(
            str(tmp_path / split), mask_filter="_masks"
        )
        rows = prepared[prepared["split"] == split].set_index("image_path")
        assert set(rows.index) == {f"{split}/{Path(name).name}" for name in names}
        for image, own_labels, name in zip(images, labels, names, strict=True):
            tile_id = rows.loc[f"{split}/{Path(name).name}", "tile_id"]
            expected = np.stack([*study.images[tile_id], np.zeros(SHAPE, np.uint16)])
            assert expected.dtype == image.dtype
            np.testing.assert_array_equal(expected, image)
            np.testing.assert_array_equal(study.labels[tile_id], own_labels)


def test_prepared_table_says_what_lies_where(study, tmp_path):
    """One row a tile with its split, relative paths that exist, cell count and size."""
    prepared = study.write(tmp_path)
    assert list(PREPARED_COLUMNS) == list(prepared.columns)
    assert list(range(8)) == prepared["n_cells"].tolist()
    assert {SHAPE} == set(zip(prepared["height_px"], prepared["width_px"], strict=True))
    assert ["train"] * 4 + ["val"] * 2 + ["test"] * 2 == prepared["split"].tolist()
    assert {"donor"} == set(prepared["split_level"])
    assert all((tmp_path / path).is_file() for path in prepared["image_path"])
    assert all((tmp_path / path).is_file() for path in prepared["labels_path"])
    pd.testing.assert_frame_equal(prepared, open_prepared(tmp_path))


def test_prepared_folder_has_the_same_bytes_each_time(study, tmp_path):
    """Two folders of the same tiles, listed in another order, are equal file by file."""
    study.write(tmp_path / "one")
    study.table = study.table.iloc[::-1]
    study.write(tmp_path / "two")
    one, two = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert 17 == len(one)
    assert one == two


def test_prepared_folder_that_is_whole_is_left_alone(study, tmp_path):
    """A second run returns the same table without reading a tile or writing a file."""
    first = study.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = study.write(tmp_path)
    pd.testing.assert_frame_equal(first, second)
    assert len(study.table) == study.n_read
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_prepared_folder_is_not_whole_before_its_last_tile(study, tmp_path):
    """A run that stops at a bad tile leaves a folder that is refused until a rerun completes it."""
    good = study.labels["d/Snap-7"]
    study.labels["d/Snap-7"] = good[:-1]
    with pytest.raises(LabelsError, match="d/Snap-7"):
        study.write(tmp_path)
    with pytest.raises(StoreError, match=r"prepared\.parquet.*again"):
        open_prepared(tmp_path)
    study.labels["d/Snap-7"] = good
    study.write(tmp_path)
    assert 8 == len(open_prepared(tmp_path))


def test_prepared_folder_refuses_other_splits_than_its_own(study, tmp_path):
    """A whole folder is not taken for the result of a split it was not made with."""
    study.write(tmp_path)
    units = {"train": ["a", "c"], "val": ["b"], "test": ["d"]}
    study.splits = Splits("donor", 0, FRACTIONS, units)
    with pytest.raises(StoreError, match="differs in 8"):
        study.write(tmp_path)


def test_prepared_folder_refuses_tiles_of_an_unfinished_other_run(study, tmp_path):
    """Images left behind by another split would be trained on by Cellpose, so they are refused."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "old.tif").write_bytes(b"old")
    with pytest.raises(StoreError, match=r"train/old\.tif"):
        study.write(tmp_path)


def test_labels_are_uint16_unless_ids_need_more(study, tmp_path):
    """A label of 70000 survives as uint32; all others are uint16."""
    study.labels["a/Snap-1"][0, 0] = 70_000
    prepared = study.write(tmp_path).set_index("tile_id")
    wide = tifffile.imread(tmp_path / prepared.loc["a/Snap-1", "labels_path"])
    narrow = tifffile.imread(tmp_path / prepared.loc["a/Snap-0", "labels_path"])
    assert (np.uint32, 70_000) == (wide.dtype, wide[0, 0])
    assert np.uint16 == narrow.dtype


@pytest.mark.parametrize(("first", "second"), [("a/x", "a__x"), ("snap", "SNAP")])
def test_tiles_that_would_share_a_file_are_refused(study, tmp_path, first, second):
    """Two tiles never overwrite each other, also where the file system ignores case."""
    study.table.loc[[0, 1], "tile_id"] = [first, second]
    with pytest.raises(TileError, match="different file names"):
        study.write(tmp_path)


def test_tiles_that_cellpose_would_pass_over_are_refused(study, tmp_path):
    """A tile id that ends like one of Cellpose's own files would be left out in silence."""
    study.table.loc[0, "tile_id"] = "a/Snap_masks"
    with pytest.raises(TileError, match="a__Snap_masks"):
        study.write(tmp_path)
