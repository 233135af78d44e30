"""How files carry their stamp: written into them, read from them, passed over in comparisons.

Enters: a table to write, or a file. Leaves: bytes with a stamp, or the stamp. What it says, and
what is refused, is in `somaflow.schema`.
"""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from somaflow.schema import FIELDS, Kind, check_stamp, make_stamp

if TYPE_CHECKING:
    import pandas as pd

_META_LINE = '<meta name="somaflow-schema" content="{} {}">'
_META = re.compile(_META_LINE.format(r"(\S*)", r"(\S*)"))
_HEAD_LETTERS = 2000


def check_file(kind: Kind, path: Path) -> None:
    """Refuses a file that this somaflow cannot read; an absent one passes.

    Raises:
        SchemaError: as `check_stamp`.
    """
    if path.is_file():
        check_stamp(kind, path, read_stamp(path))


def read_stamp(path: Path) -> dict[str, Any]:
    """The stamp of a file, by its ending; empty where it has none.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged.
    """
    read = {
        ".parquet": _read_parquet,
        ".json": _read_json,
        ".yaml": _read_yaml,
        ".html": _read_html,
    }[path.suffix]
    content = read(path)
    return {name: content[name] for name in FIELDS if name in content}


def encode_table(kind: Kind, table: "pd.DataFrame", **options: Any) -> bytes:
    """The table as parquet, as pandas writes it without its index, and with a stamp.

    Args:
        kind: of the file.
        table: any table.
        **options: of `pyarrow.parquet.write_table`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    encoded = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**(encoded.schema.metadata or {}), b"somaflow": json.dumps(make_stamp(kind))}
    buffer = io.BytesIO()
    parquet.write_table(encoded.replace_schema_metadata(metadata), buffer, **options)
    return buffer.getvalue()


def write_meta(kind: Kind) -> str:
    """The stamp as a line of an HTML file's head."""
    return _META_LINE.format(*make_stamp(kind).values())


def read_table(kind: Kind, path: Path, **options: Any) -> "pd.DataFrame":
    """A table that `encode_table` wrote.

    Args:
        kind: of the file.
        path: of the file.
        **options: of `pandas.read_parquet`.

    Raises:
        SchemaError: as `check_stamp`.
    """
    import pandas as pd

    check_stamp(kind, path, read_stamp(path))
    return pd.read_parquet(path, **options)


def is_same(path: Path, content: bytes) -> bool:
    """Whether a YAML or parquet file says the same as `content`, whoever wrote it."""
    former = path.read_bytes()
    if former == content:
        return True
    if path.suffix == ".parquet":
        return _same_tables(former, content)
    return path.suffix == ".yaml" and _without_stamp(former) == _without_stamp(content)


def _same_tables(former: bytes, content: bytes) -> bool:
    from pyarrow import parquet

    try:
        one, two = (parquet.read_table(io.BytesIO(part)) for part in (former, content))
    except (ValueError, OSError):  # damaged
        return False
    return bool(one.equals(two))  # of their metadata, only columns are compared


def _without_stamp(content: bytes) -> list[bytes]:
    fields = tuple(f"{name}:".encode() for name in FIELDS)
    return [line for line in content.splitlines() if not line.startswith(fields)]


def _read_parquet(path: Path) -> Mapping[Any, Any]:
    from pyarrow import parquet

    metadata = parquet.read_schema(path).metadata or {}
    return _mapping(json.loads(metadata.get(b"somaflow", b"{}")))


def _read_json(path: Path) -> Mapping[Any, Any]:
    content = _mapping(json.loads(path.read_text(encoding="utf-8")))
    return _mapping(content.get("attributes")) if path.name == "zarr.json" else content


def _read_yaml(path: Path) -> Mapping[Any, Any]:
    try:
        return _mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error


def _read_html(path: Path) -> Mapping[Any, Any]:
    with path.open(encoding="utf-8", errors="replace") as handle:
        found = _META.search(handle.read(_HEAD_LETTERS))
    return dict(zip(FIELDS, found.groups(), strict=True)) if found else {}


def _mapping(content: Any) -> Mapping[Any, Any]:
    return content if isinstance(content, Mapping) else {}
