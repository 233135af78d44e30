"""Tiles with their labels as OME-Zarr 0.5, for napari and whatever else opens that.

Enters an inference and a choice of donors and tiles; leaves a folder a tile: image `(C, Y, X)` and
labels `(Y, X)` with coarser levels. Refuses, all in one list and before anything is written: names
that are not in the inference, tiles without labels, images that are not those that were segmented,
and places where something else lies.

zarr itself writes the little metadata there is, because ome-zarr-py 0.18 leaves the labels group
without the version that OME-Zarr 0.5 asks for, and brings Dask and an S3 client along; it reads
the result in the tests, as napari's reader does.
"""

from somaflow.export.selection import Selection
from somaflow.export.writing import Export, ExportedTile, export_tiles

__all__ = ["Export", "ExportedTile", "Selection", "export_tiles"]
