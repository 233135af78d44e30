"""One tile as the files of an OME-Zarr 0.5 image, in memory; the same tile gives the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import MemoryStore

from somaflow.export.pyramid import list_factors, shrink_image, shrink_labels
from somaflow.labelstore import Labels

_VERSION = "0.5"
_LABELS_NAME = "cells"
# So that one chunk is one read of a tile's channel, and no chunk of a huge tile is huge.
_CHUNK_MAX_PX = 2048
_STRETCH_PERCENT = (1.0, 99.8)


@dataclass(frozen=True)
class Channel:
    """How a viewer shows a channel.

    Attributes:
        name: "DAPI" or the marker.
        colour: RRGGBB.
        present: False for a channel without a file, which is all 0: it starts hidden.
    """

    name: str
    colour: str
    present: bool = True


def encode_tile(
    image: npt.NDArray[Any],
    labels: Labels,
    name: str,
    channels: Sequence[Channel],
    pixel_size_um: float | None,
    source: dict[str, str],
) -> dict[str, bytes]:
    """The files of one image with its labels, by path relative to the image's folder.

    Args:
        image: (C, Y, X).
        labels: (Y, X) uint32, 0 = background.
        name: of the image, shown in viewers.
        channels: one for each of C.
        pixel_size_um: side of a pixel; None = unknown, and coordinates are in px without a unit.
        source: what the image is, kept beside the OME metadata.
    """
    encoded: dict[str, Any] = {}
    store = MemoryStore(encoded)
    factors = list_factors(*labels.shape)
    image_levels = [shrink_image(image, factor) for factor in factors]
    labels_levels = [shrink_labels(labels, factor) for factor in factors]
    shown = [_describe_channel(*pair) for pair in zip(channels, image, strict=True)]
    ome = _describe_levels(name, "cyx", factors, pixel_size_um, "mean")
    ome["omero"] = {"version": _VERSION, "channels": shown, "rdefs": {"model": "color"}}
    _add_group(store, "", {"ome": ome, "somaflow": source})
    _add_levels(store, "", image_levels, "cyx")
    _add_group(store, "labels", {"ome": {"version": _VERSION, "labels": [_LABELS_NAME]}})
    ome = _describe_levels(_LABELS_NAME, "yx", factors, pixel_size_um, "nearest")
    # No colours of our own: a viewer has better ones for thousands of cells.
    ome["image-label"] = {"version": _VERSION, "colors": [], "source": {"image": "../../"}}
    _add_group(store, f"labels/{_LABELS_NAME}", {"ome": ome})
    _add_levels(store, f"labels/{_LABELS_NAME}/", labels_levels, "yx")
    return {path: content.to_bytes() for path, content in sorted(encoded.items())}


def _describe_levels(
    name: str, axes: str, factors: list[int], pixel_size_um: float | None, method: str
) -> dict[str, Any]:
    """The `ome` metadata of a multiscale image.

    A pixel of a coarser level is centred on its block, which is half a block less half a pixel from
    the centre of the tile's first pixel.
    """
    size = 1.0 if pixel_size_um is None else pixel_size_um
    datasets = []
    for level, factor in enumerate(factors):
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": _along(axes, 1.0, factor * size)}]
        if factor > 1:
            shift = _along(axes, 0.0, (factor - 1) / 2 * size)
            steps.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    described = [_describe_axis(axis, pixel_size_um is not None) for axis in axes]
    levels = {"name": name, "type": method, "axes": described, "datasets": datasets}
    return {"version": _VERSION, "multiscales": [levels]}


def _describe_axis(axis: str, has_unit: bool) -> dict[str, str]:
    if axis == "c":
        return {"name": axis, "type": "channel"}
    unit = {"unit": "micrometer"} if has_unit else {}
    return {"name": axis, "type": "space", **unit}


def _along(axes: str, channel: float, space: float) -> list[float]:
    return [channel if axis == "c" else space for axis in axes]


def _describe_channel(channel: Channel, plane: npt.NDArray[Any]) -> dict[str, Any]:
    """The `omero` metadata of a channel; its window leaves out the darkest and brightest pixels."""
    start, end = (float(value) for value in np.percentile(plane, _STRETCH_PERCENT))
    if plane.dtype.kind == "f":
        lowest, highest = float(plane.min()), float(plane.max())
    else:
        lowest, highest = float(np.iinfo(plane.dtype).min), float(np.iinfo(plane.dtype).max)
    if start == end:  # viewers divide by the width of the window
        end = start + 1.0
    return {
        "label": channel.name,
        "color": channel.colour,
        "active": channel.present,
        "window": {"min": lowest, "max": max(highest, end), "start": start, "end": end},
    }


def _add_group(store: MemoryStore, path: str, attributes: dict[str, Any]) -> None:
    zarr.create_group(store, path=path, attributes=attributes, zarr_format=3)


def _add_levels(
    store: MemoryStore, prefix: str, levels: Sequence[npt.NDArray[Any]], axes: str
) -> None:
    for number, level in enumerate(levels):
        sides = [min(side, _CHUNK_MAX_PX) for side in level.shape[-2:]]
        array = zarr.create_array(
            store,
            name=f"{prefix}{number}",
            shape=level.shape,
            chunks=(1,) * (level.ndim - 2) + tuple(sides),
            dtype=level.dtype,
            fill_value=0,
            dimension_names=tuple(axes),
            # So that a chunk that is missing was lost, and does not just happen to be empty.
            config={"write_empty_chunks": True},
        )
        array[...] = level
