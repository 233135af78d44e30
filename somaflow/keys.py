"""Content keys: equal work finds its own result, different work never overwrites it.

A key is the hash of everything that shapes a result: input files by content, parameters, the
weights' sha256, the code version of the step and the libraries that compute it. The same key names
the folder on disk and is the Prefect cache key.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from somaflow.errors import TileError
from somaflow.files import hash_file, write_bytes
from somaflow.schema import FINGERPRINTS
from somaflow.stamps import encode_table, read_table

# Raise a number when the code of that step changes what it produces.
STEP_VERSIONS = {
    "prepare": 1,
    "train": 1,
    "evaluate": 2,
    "gate": 1,
    "sweep": 1,
    "experiment": 2,
    "infer": 2,
    "tile-quality": 1,
    "tile-features": 1,
    "donors": 1,
}
_KEY_LENGTH = 20
# A file changed within this time of being hashed may change again without its mtime moving on.
_MTIME_GRAIN_NS = 2_000_000_000
# A thread's task of one known file costs more than looking at the file.
_N_THREADS, _BATCH = 8, 64


def content_key(step: str, **parts: Any) -> str:
    """The key of one piece of work: 20 hex digits.

    Args:
        step: a name in `STEP_VERSIONS`; its number is part of the key.
        **parts: everything else that shapes the result; must survive JSON.
    """
    content = {"step": step, "step_version": STEP_VERSIONS[step], **parts}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions of the distributions that shape a result."""
    return {name: version(name) for name in names}


def table_digest(table: pd.DataFrame) -> str:
    """sha256 of a table's column names and values (as CSV), independent of its index."""
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


def describe_tiles(tiles: pd.DataFrame, fingerprints: Mapping[str, str]) -> list[list[Any]]:
    """What tiles are, by content, as JSON for a key; in order of rows, which is part of it.

    Args:
        tiles: rows of the tile table.
        fingerprints: sha256 of each file that it names, from `fingerprint_files`.
    """
    rows: Iterable[Any] = tiles.itertuples()
    return [
        [
            row.tile_id, row.donor, row.marker, row.region,
            fingerprints[row.dapi_path], int(row.dapi_channel),
            fingerprints[row.marker_path], int(row.marker_channel),
        ]
        for row in rows
    ]  # fmt: skip


def fingerprint_files(paths: Iterable[str], index_path: Path) -> dict[str, str]:
    """sha256 of each file, read again only where its size or modification time has changed.

    Args:
        paths: absolute paths; an empty string (an absent channel) maps to "absent".
        index_path: parquet file that remembers (path, size, mtime_ns, sha256) between runs.

    Raises:
        TileError: if a file is gone or cannot be read.
    """
    wanted = sorted(set(paths) - {""})
    known = _read_index(index_path)
    batches = [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]
    with ThreadPoolExecutor(_N_THREADS) as pool:  # hashing and waiting for a disk release the GIL
        done = pool.map(lambda batch: [_fingerprint(path, known) for path in batch], batches)
        rows = [row for batch in done for row in batch]
    fresh = {path: row for path, row in zip(wanted, rows, strict=True) if row[3]}
    if any(known.get(path) != row[:3] for path, row in fresh.items()):
        _write_index({**known, **{path: row[:3] for path, row in fresh.items()}}, index_path)
    return {"": "absent", **{path: row[2] for path, row in zip(wanted, rows, strict=True)}}


def _fingerprint(
    path: str, known: Mapping[str, tuple[int, int, str]]
) -> tuple[int, int, str, bool]:
    """(size, mtime_ns, sha256, whether the file is old enough to be remembered)."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - a Path costs more than the call, 30,000 times
        seen = known.get(path)
        if seen is not None and seen[:2] == (stat.st_size, stat.st_mtime_ns):
            return (*seen, True)
        settled = time.time_ns() - stat.st_mtime_ns > _MTIME_GRAIN_NS
        return (stat.st_size, stat.st_mtime_ns, hash_file(Path(path)), settled)
    except OSError as error:
        raise TileError(
            f"input file must be readable, got {error.strerror} for {path}; "
            "restore it or run e0-prepare again to take its tile out"
        ) from error


def _read_index(index_path: Path) -> dict[str, tuple[int, int, str]]:
    if not index_path.exists():
        return {}
    table = read_table(FINGERPRINTS, index_path)
    values = zip(table.size_bytes, table.mtime_ns, table.sha256, strict=True)
    return dict(zip(table.path, ((int(s), int(m), str(h)) for s, m, h in values), strict=True))


def _write_index(index: Mapping[str, tuple[int, int, str]], index_path: Path) -> None:
    rows = [(path, *index[path]) for path in sorted(index)]
    table = pd.DataFrame(rows, columns=["path", "size_bytes", "mtime_ns", "sha256"])
    write_bytes(index_path, encode_table(FINGERPRINTS, table))
