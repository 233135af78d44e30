"""A shard's bytes are those of zarr, however the tiles come in."""

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from somaflow.labelstore import Labels, ShardEncoder


def draw_labels(n_tiles: int, shape: tuple[int, int]) -> list[Labels]:
    """Noise of many values; the second tile is empty."""
    rng = np.random.default_rng(n_tiles)
    tiles = [rng.integers(0, 90_000, shape).astype(np.uint32) for _ in range(n_tiles)]
    return [tile * (place != 1) for place, tile in enumerate(tiles)]


@pytest.mark.parametrize(
    ("n_tiles", "shard_tiles"), [(8, 8), (5, 8), (1, 1), (1, 64), (3, 3), (0, 4)]
)
def test_shard_encoded_tile_by_tile_is_what_zarr_writes_whole(
    n_tiles: int, shard_tiles: int
) -> None:
    """Full, partly filled, of one tile and empty: equal to one write of the whole shard."""
    shape = (48, 64)
    encoder, whole = ShardEncoder(shard_tiles, *shape), np.zeros((shard_tiles, *shape), np.uint32)
    for place, labels in enumerate(draw_labels(n_tiles, shape)):
        encoder.add(labels)
        whole[place] = labels
    files: dict = {}
    array = zarr.create_array(
        MemoryStore(files), shape=whole.shape, chunks=(1, *shape), shards=whole.shape,
        dtype="uint32", fill_value=0, config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = whole

    assert files["c/0/0/0"].to_bytes() == encoder.finish()


def test_shard_refuses_a_tile_of_another_shape_and_one_too_many() -> None:
    """Zarr would broadcast the one and the other would be lost."""
    encoder = ShardEncoder(1, 4, 4)
    with pytest.raises(ValueError, match="given 1 tiles"):
        encoder.add(np.zeros((1, 4), np.uint32))
    encoder.add(np.zeros((4, 4), np.uint32))
    with pytest.raises(ValueError, match="given 1 tiles"):
        encoder.add(np.zeros((4, 4), np.uint32))
