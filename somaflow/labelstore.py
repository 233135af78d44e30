"""Labels of all tiles in sharded zarr arrays, one array a tile shape, one chunk a tile.

A shard's bytes are encoded in memory by zarr itself and then written like every other file here:
temporary name, fsync, rename. So no shard on disk is ever torn, two writers of one shard write the
same bytes, and its checksum is known before it is committed.
"""

import json
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from somaflow.errors import SchemaError, StoreError
from somaflow.files import write_bytes
from somaflow.ledger import read_plan, read_record
from somaflow.paths import RunPaths
from somaflow.schema import LABELS, check_stamp, make_stamp

Labels = npt.NDArray[np.uint32]


def create_arrays(paths: RunPaths, key: str, plan: pd.DataFrame, shard_tiles: int) -> None:
    """Writes the metadata of each label array in the plan; the same bytes for the same plan.

    Raises:
        SchemaError: if a newer somaflow wrote what is there.
    """
    for array, rows in plan.groupby("array", sort=False):
        height_px, width_px = int(rows.height_px.iloc[0]), int(rows.width_px.iloc[0])
        encoded, _ = _memory_array(len(rows), height_px, width_px, shard_tiles)
        target = paths.label_array(key, str(array)) / "zarr.json"
        content = encoded["zarr.json"].to_bytes()
        if not target.exists() or not _is_same_array(target, content):
            write_bytes(target, content)


def _is_same_array(target: Path, content: bytes) -> bool:
    """Whether `zarr.json` says the same of the array, whichever release wrote it."""
    try:
        former = json.loads(target.read_bytes())
        check_stamp(LABELS, target, former.pop("attributes"))
    except SchemaError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        return False  # damaged
    own = json.loads(content)
    del own["attributes"]
    return bool(former == own)


def encode_labels(labels: Labels) -> bytes:
    """Labels (Y, X) uint32 as a chunk of a label array, the bytes that zarr writes."""
    encoded, array = _memory_array(1, labels.shape[0], labels.shape[1], None)
    array[0] = labels
    return bytes(encoded["c/0/0/0"].to_bytes())


def decode_labels(chunk: bytes, height_px: int, width_px: int) -> Labels:
    """The labels (Y, X) uint32 of a chunk that `encode_labels` made."""
    encoded, array = _memory_array(1, height_px, width_px, None)
    encoded["c/0/0/0"] = cpu.Buffer.from_bytes(chunk)
    return np.asarray(array[0], dtype=np.uint32)


class ShardEncoder:
    """Puts the encoded labels of one shard's tiles together.

    zarr encodes each tile as a chunk of its own. Given to a sharded array one by one, they would
    be copied, all of them, with each one that is added.

    Args:
        shard_tiles: tiles per shard.
        height_px: of each tile.
        width_px: of each tile.
    """

    def __init__(self, shard_tiles: int, height_px: int, width_px: int) -> None:
        """Starts with no tile."""
        self._n_tiles, self._shape = shard_tiles, (height_px, width_px)
        self._chunks: list[bytes] = []

    def add(self, labels: Labels) -> None:
        """Takes the next tile's labels, (Y, X) uint32.

        Raises:
            ValueError: if they have another shape, or the shard is full.
        """
        if labels.shape != self._shape:
            raise ValueError(
                f"a shard must be given {self._n_tiles} tiles of {self._shape}, got one of "
                f"{labels.shape}"
            )
        self.add_encoded(encode_labels(labels))

    def add_encoded(self, chunk: bytes) -> None:
        """Takes the next tile's labels as `encode_labels` gives them.

        Raises:
            ValueError: if the shard is full.
        """
        if len(self._chunks) == self._n_tiles:
            raise ValueError(
                f"a shard must be given {self._n_tiles} tiles of {self._shape}, got one more"
            )
        self._chunks.append(chunk)

    def finish(self) -> bytes:
        """The bytes of the shard file, as zarr writes it whole; missing tiles are stored empty."""
        n_missing = self._n_tiles - len(self._chunks)
        if n_missing:
            empty = encode_labels(np.zeros(self._shape, dtype=np.uint32))
            self._chunks += [empty] * n_missing
        return b"".join(self._chunks) + _index_shard([len(chunk) for chunk in self._chunks])


class LabelStore:
    """Label images of one inference, by tile.

    Attributes:
        paths: of the study.
        key: of the inference.
        tile_ids: all tiles of the inference, segmented or not.
    """

    def __init__(self, paths: RunPaths, key: str) -> None:
        """Opens the labels of the inference `key`."""
        self.paths = paths
        self.key = key
        plan = read_plan(paths, key)
        self.tile_ids: list[str] = plan["tile_id"].tolist()
        places = zip(plan["array"], plan["position"], plan["shard"], strict=True)
        self._places = {
            tile_id: (str(array), int(position), int(shard))
            for tile_id, (array, position, shard) in zip(self.tile_ids, places, strict=True)
        }
        self._arrays: dict[str, zarr.Array] = {}

    def __len__(self) -> int:
        """Number of tiles in the inference."""
        return len(self.tile_ids)

    def read(self, tile_id: str) -> Labels:
        """The tile's labels, (Y, X) uint32, 0 = background.

        Raises:
            StoreError: for an unknown tile, one not segmented yet, or one that was quarantined.
            SchemaError: if a newer somaflow wrote the labels.
        """
        if tile_id not in self._places:
            raise StoreError(
                f"tile_id must be one of the {len(self)} tiles of inference {self.key}, "
                f"got {tile_id!r}; see .tile_ids"
            )
        array, position, shard = self._places[tile_id]
        self._require_segmented(tile_id, shard)
        if array not in self._arrays:
            place = self.paths.label_array(self.key, array)
            opened = zarr.open_array(place, mode="r")
            check_stamp(LABELS, place, opened.attrs)
            self._arrays[array] = opened
        return np.asarray(self._arrays[array][position], dtype=np.uint32)

    def _require_segmented(self, tile_id: str, shard: int) -> None:
        record = read_record(self.paths.record(self.key, shard))
        if record is None:
            raise StoreError(
                f"tile must be segmented before its labels are read, {tile_id} lies in shard "
                f"{shard}, which is not done; run e5-inference"
            )
        entry = next(tile for tile in record.tiles if tile.tile_id == tile_id)
        if entry.quarantined:
            raise StoreError(f"{tile_id} has no labels, it was quarantined: {entry.quarantined}")


def open_labels(path: Path | str) -> LabelStore:
    """Opens the labels of an inference.

    Args:
        path: `<output>/labels/<key>`, or an array in it.

    Raises:
        StoreError: if that is not a label folder of a study.
    """
    return LabelStore(*RunPaths.of_labels(Path(path)))


def _index_shard(sizes: list[int]) -> bytes:
    """What zarr v3's sharding codec puts after the chunks: where each lies, and a checksum.

    See https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
    """
    ends = np.cumsum(sizes)
    index = np.stack([ends - sizes, sizes], axis=1).astype("<u8").tobytes()
    return index + google_crc32c.value(index).to_bytes(4, "little")


def _memory_array(
    n_tiles: int, height_px: int, width_px: int, shard_tiles: int | None
) -> tuple[dict[str, Any], zarr.Array]:
    """A new array in memory, sharded or not, and the mapping of its encoded files by name."""
    encoded: dict[str, Any] = {}
    array = zarr.create_array(
        MemoryStore(encoded),
        shape=(n_tiles, height_px, width_px),
        chunks=(1, height_px, width_px),
        shards=None if shard_tiles is None else (shard_tiles, height_px, width_px),
        dtype="uint32",
        fill_value=0,
        dimension_names=("tile", "y", "x"),
        attributes=make_stamp(LABELS),
        # An all-zero shard must exist too: «file exists» and its checksum are part of the record.
        config={"write_empty_chunks": True},
    )
    return encoded, array
