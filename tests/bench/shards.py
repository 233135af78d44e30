"""The labels of a shard encoded tile by tile: as somaflow does, and by adding to a zarr array."""

import numpy as np
import zarr
from zarr.storage import MemoryStore

from somaflow.labelstore import Labels, ShardEncoder
from somaflow.recipes import Recipe
from somaflow.segmenter import ThresholdSegmenter
from somaflow.synthetic.nuclei import draw_nuclei
from tests.bench.timing import time_pair


def bench_encode_shard(
    shape: tuple[int, int] = (1040, 1388), n_tiles: int = 256
) -> dict[str, object]:
    """A shard of so many tiles, all the same."""
    tile, _ = draw_nuclei(np.random.default_rng(3), shape)
    (labels,) = ThresholdSegmenter().segment([tile], Recipe(model="threshold"))
    return {
        "name": "encode_shard",
        **time_pair(
            lambda: _encode(labels, n_tiles), lambda: _add_to_zarr(labels, n_tiles), n_repeats=3
        ),
        "equal": _encode(labels, n_tiles) == _add_to_zarr(labels, n_tiles),
        "theirs": f"the same {n_tiles} tiles assigned one by one to a sharded zarr array, "
        f"{shape[0]} x {shape[1]} px",
    }


def _encode(labels: Labels, n_tiles: int) -> bytes:
    encoder = ShardEncoder(n_tiles, *labels.shape)
    for _ in range(n_tiles):
        encoder.add(labels)
    return encoder.finish()


def _add_to_zarr(labels: Labels, n_tiles: int) -> bytes:
    files: dict = {}
    array = zarr.create_array(
        MemoryStore(files),
        shape=(n_tiles, *labels.shape),
        chunks=(1, *labels.shape),
        shards=(n_tiles, *labels.shape),
        dtype="uint32",
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    for place in range(n_tiles):
        array[place] = labels
    return files["c/0/0/0"].to_bytes()
