"""Image and labels of a tile as they were segmented, or why they are not."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from somaflow.errors import TileError
from somaflow.export.encoding import Channel, encode_tile
from somaflow.features import measure_cells
from somaflow.labelstore import Labels, LabelStore
from somaflow.ledger import read_run
from somaflow.paths import RunPaths
from somaflow.schema import CELLS
from somaflow.stamps import read_table
from somaflow.tiles import read_tile

_DAPI_COLOUR, _MARKER_COLOUR = "0000FF", "00FF00"
_MEASURED = [
    "label",
    "dapi_mean",
    "dapi_min",
    "dapi_max",
    "marker_mean",
    "marker_min",
    "marker_max",
]


class Source:
    """Tiles of one inference.

    Attributes:
        paths: of the study.
        key: of the inference.
        pixel_size_um: side of a pixel; None = unknown.
    """

    def __init__(self, paths: RunPaths, key: str, pixel_size_um: float | None) -> None:
        """Opens the labels of the inference `key`."""
        self.paths = paths
        self.key = key
        self.pixel_size_um = pixel_size_um
        self._labels = LabelStore(paths, key)
        self._cells: dict[int, pd.DataFrame] = {}

    def read(self, row: Any) -> tuple[npt.NDArray[Any], Labels]:
        """Image (2, Y, X) and labels (Y, X) of a row of the plan.

        Raises:
            TileError: if the image cannot be read or is not the one that was segmented.
            StoreError: if the tile has no labels.
        """
        labels = self._labels.read(row.tile_id)
        image = read_tile(row, pixel_offset=self._pixel_offset)
        if image.shape[1:] != labels.shape or not self._measures_alike(row, image, labels):
            raise TileError(
                f"image must be the one that was segmented, the cells of {row.tile_id} do not "
                f"measure in {row.dapi_path or row.marker_path} what the cell table says; restore "
                "the files, or run e5-inference on the changed ones"
            )
        return image, labels

    def encode(self, row: Any) -> dict[str, bytes]:
        """The files of the tile's image, by path relative to its folder."""
        image, labels = self.read(row)
        channels = [
            Channel("DAPI", _DAPI_COLOUR, present=bool(row.dapi_path)),
            Channel(row.marker, _MARKER_COLOUR, present=bool(row.marker_path)),
        ]
        source = {
            "inference": self.key,
            **{name: getattr(row, name) for name in ("tile_id", "donor", "marker", "region")},
        }
        return encode_tile(image, labels, row.tile_id, channels, self.pixel_size_um, source)

    @cached_property
    def _pixel_offset(self) -> int:
        return int(read_run(self.paths, self.key)["pixel_offset"])

    def _measures_alike(self, row: Any, image: npt.NDArray[Any], labels: Labels) -> bool:
        """Whether the cells have the intensities that were measured when they were segmented."""
        shard = int(row.shard)
        if shard not in self._cells:
            path = self.paths.cells(self.key, shard)
            self._cells[shard] = read_table(CELLS, path, columns=["tile_id", *_MEASURED])
        cells = self._cells[shard]
        expected = cells.loc[cells["tile_id"] == row.tile_id, _MEASURED].to_numpy(float)
        actual = measure_cells(labels, image)[_MEASURED].to_numpy(float)
        return expected.shape == actual.shape and bool(np.allclose(expected, actual, rtol=1e-5))
