"""What others read from an export: ome-zarr-py, napari and the schema of OME-Zarr 0.5."""

import os
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.common.omero import Omero
from ome_zarr_models.v05 import Image

from somaflow.export import Selection, export_tiles
from somaflow.labelstore import open_labels
from somaflow.tiles import read_tile
from tests.export.conftest import Segmented

PIXEL_SIZE_UM = 0.325

# The readers and their libraries use what pydantic and they themselves have given up.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def exported(segmented: Segmented) -> dict[str, Path]:
    """All tiles, with a pixel size; folder by tile_id."""
    done = export_tiles(segmented.paths, segmented.target, Selection(every=True), PIXEL_SIZE_UM)
    assert sorted(segmented.tiles.tile_id) == sorted(tile.tile_id for tile in done.tiles)
    return {tile.tile_id: tile.path for tile in done.tiles}


@pytest.fixture
def napari(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Can be imported, and keeps its hands off the settings and caches of whoever runs the tests.

    Where the system lacks what its import loads, tests are skipped; in CI that is a failure.
    """
    if find_library("GL") is None or find_library("fontconfig") is None:
        missing = "importing napari needs the system's packages libgl1 and libfontconfig1"
        if os.environ.get("SOMAFLOW_TEST_NAPARI") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    monkeypatch.setenv("NAPARI_CONFIG", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def originals(segmented: Segmented) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Id, image and labels of each tile, from the tiles on disk and the label store."""
    store = open_labels(segmented.paths.labels(segmented.key))
    for row in segmented.tiles.itertuples():
        yield str(row.tile_id), read_tile(row), store.read(str(row.tile_id))


def assert_equal(expected: np.ndarray, actual: Any) -> None:
    """Same type, shape and values."""
    assert expected.dtype == actual.dtype
    assert np.array_equal(expected, np.asarray(actual))


def test_ome_zarr_py_reads_the_same_pixels_and_labels(
    segmented: Segmented, exported: dict[str, Path]
) -> None:
    """Image and labels of every tile come back bit for bit through ome-zarr-py's reader."""
    for tile_id, image, labels in originals(segmented):
        nodes = [node for node in Reader(parse_url(exported[tile_id]))() if node.data]
        assert [tile_id, "cells"] == [node.metadata["name"] for node in nodes]
        assert_equal(image, nodes[0].data[0])
        assert_equal(labels, nodes[1].data[0])
        assert ["DAPI", "GFAP"] == nodes[0].metadata["channel_names"]
        assert len(nodes[0].data) == len(nodes[1].data) == (3 if image.shape[1] > 500 else 1)


def test_napari_reader_gives_image_and_labels(
    segmented: Segmented, exported: dict[str, Path], napari: None
) -> None:
    """The reader of napari finds two channels by name, their scale, and labels, bit for bit."""
    from napari_ome_zarr._reader import napari_get_reader

    for tile_id, image, labels in originals(segmented):
        read = napari_get_reader(str(exported[tile_id]))
        assert read is not None
        (levels, shown, kind), (labels_levels, labels_shown, labels_kind) = read()
        assert ("image", "labels") == (kind, labels_kind)
        assert_equal(image, levels[0])
        assert_equal(labels, labels_levels[0])
        assert 0 == shown["channel_axis"]
        assert [f"{tile_id}: DAPI", f"{tile_id}: GFAP"] == shown["name"]
        assert "cells" in labels_shown["name"]
        assert [PIXEL_SIZE_UM] * 2 == shown["scale"] == labels_shown["scale"]
        assert ("micrometer", "micrometer") == shown["units"] == labels_shown["units"]
        assert ["blue", "green"] == [colormap.name for colormap in shown["colormap"]]


def test_napari_opens_the_folder_as_three_layers(
    segmented: Segmented, exported: dict[str, Path], napari: None
) -> None:
    """`viewer.open` makes an image layer a channel and a labels layer that lies on them."""
    from napari.components import ViewerModel
    from napari.layers import Labels
    from npe2 import PluginManager

    PluginManager.instance().discover()
    tile_id, image, labels = next(
        original for original in originals(segmented) if original[2].shape[0] > 500
    )
    viewer = ViewerModel()
    dapi, marker, cells = viewer.open(str(exported[tile_id]), plugin="napari-ome-zarr")
    assert_equal(image[0], dapi.data[0])
    assert_equal(image[1], marker.data[0])
    assert isinstance(cells, Labels)
    assert_equal(labels, cells.data[0])
    assert np.array_equal(dapi.extent.world, cells.extent.world)
    first, last = dapi.extent.world
    assert np.allclose(np.array(labels.shape) * PIXEL_SIZE_UM, last - first, atol=PIXEL_SIZE_UM)


def test_metadata_is_ome_zarr_0_5(exported: dict[str, Path]) -> None:
    """Image, levels, labels and channels obey the schema of OME-Zarr 0.5 in zarr v3."""
    for tile_id, path in exported.items():
        group = zarr.open_group(path, mode="r")
        image = Image.from_zarr(group)
        assert "0.5" == image.ome_zarr_version
        (levels,) = image.ome_attributes.multiscales
        assert ["c", "y", "x"] == [axis.name for axis in levels.axes]
        assert [None, "micrometer", "micrometer"] == [axis.unit for axis in levels.axes]
        assert image.labels is not None
        assert ["cells"] == image.labels.label_paths
        cells = image.labels.get_image_labels_group("cells").ome_attributes
        assert cells.image_label is not None
        assert cells.image_label.source is not None
        assert "../../" == cells.image_label.source.image
        attributes: Any = group.attrs["ome"]
        windows = [channel.window for channel in Omero(**attributes["omero"]).channels]
        assert 2 == len(windows)
        assert all(w.min <= w.start < w.end <= w.max for w in windows)
        source: Any = group.attrs["somaflow"]
        assert tile_id == source["tile_id"]


def test_unknown_pixel_size_is_not_invented(segmented: Segmented) -> None:
    """Without a pixel size the axes have no unit and a pixel has length 1."""
    (tile,) = export_tiles(segmented.paths, segmented.target, Selection(tile_ids=["t000"])).tiles
    (levels,) = Image.from_zarr(zarr.open_group(tile.path, mode="r")).ome_attributes.multiscales
    assert {None} == {axis.unit for axis in levels.axes}
    assert [1, 1, 1] == levels.datasets[0].coordinateTransformations[0].scale
