"""A tile segmented in a Dask worker: as somaflow starts workers, and as Dask does by itself."""

from contextlib import ExitStack
from functools import lru_cache

import dask
import numpy as np
from distributed import Client, LocalCluster

from infra.clusters import DASK_CONFIG
from somaflow.recipes import Recipe
from somaflow.segmenter import Segmenter, limit_threads, load_segmenter
from somaflow.synthetic.nuclei import draw_nuclei
from tests.bench.timing import time_pair


def bench_worker_memory(shape: tuple[int, int] = (520, 694)) -> dict[str, object]:
    """One tile's labels in a worker of each kind."""
    tile, _ = draw_nuclei(np.random.default_rng(9), shape)
    with ExitStack() as stack:
        clients = {}
        for kind, config in {"ours": DASK_CONFIG, "theirs": {}}.items():
            with dask.config.set(config):
                cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
            stack.enter_context(cluster)
            clients[kind] = stack.enter_context(Client(cluster, set_as_default=False))
        labels = {kind: _segment_in(client, tile) for kind, client in clients.items()}
        return {
            "name": "worker_memory",
            **time_pair(
                lambda: _segment_in(clients["ours"], tile),
                lambda: _segment_in(clients["theirs"], tile),
                n_repeats=7,
            ),
            "equal": np.array_equal(labels["ours"], labels["theirs"]),
            "theirs": "the same in a worker with Dask's own MALLOC_TRIM_THRESHOLD_, "
            f"{shape[0]} x {shape[1]} px",
        }


def _segment_in(client: Client, tile: np.ndarray) -> np.ndarray:
    return client.submit(_segment, tile, pure=False).result()


def _segment(tile: np.ndarray) -> np.ndarray:
    return _tiny().segment([tile], Recipe())[0]


@lru_cache(maxsize=1)
def _tiny() -> Segmenter:
    limit_threads(1)
    return load_segmenter("tiny", device="cpu")
