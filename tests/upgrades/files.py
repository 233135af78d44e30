"""Files of a study made by a release, and other stamps put into them, as another release would."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pyarrow import parquet

RELEASES = sorted(path.parent for path in Path(__file__).parent.glob("*/study.tar.xz"))


def unpack(release: Path, folder: Path) -> Path:
    """Unpacks the study of a release; returns its study file."""
    with tarfile.open(release / "study.tar.xz") as archive:
        # As an attribute: Python 3.11.2 (Debian 12) has no argument `filter`, and ignores it.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder / "study.yaml"


def made_with(release: Path) -> dict[str, Any]:
    """What the study was run with: `somaflow`, `steps`, `libraries`."""
    return json.loads((release / "versions.json").read_text())


def restamp(path: Path, stamp: dict[str, object]) -> None:
    """Puts a stamp into a file in place of its own, and leaves all else as it is."""
    change: dict[str, Callable[[Path, dict[str, object]], bytes]] = {
        ".parquet": _restamp_parquet,
        ".json": _restamp_json,
        ".yaml": _restamp_yaml,
        ".html": _restamp_html,
        ".pt": _restamp_state,
    }
    path.write_bytes(change[path.suffix](path, stamp))


def _restamp_parquet(path: Path, stamp: dict[str, object]) -> bytes:
    table, content = parquet.read_table(path), io.BytesIO()
    metadata = {**table.schema.metadata, b"somaflow": json.dumps(stamp)}
    parquet.write_table(table.replace_schema_metadata(metadata), content)
    return content.getvalue()


def _restamp_json(path: Path, stamp: dict[str, object]) -> bytes:
    content = json.loads(path.read_text()) if path.is_file() else {}
    (content["attributes"] if path.name == "zarr.json" else content).update(stamp)
    return json.dumps(content).encode()


def _restamp_yaml(path: Path, stamp: dict[str, object]) -> bytes:
    return yaml.safe_dump({**yaml.safe_load(path.read_text()), **stamp}).encode()


def _restamp_html(path: Path, stamp: dict[str, object]) -> bytes:
    words = " ".join(map(str, stamp.values()))
    meta = f'<meta name="somaflow-schema" content="{words}">'
    return path.read_text().replace("<head>", f"<head>\n{meta}", 1).encode()


def _restamp_state(path: Path, stamp: dict[str, object]) -> bytes:
    import torch

    content, buffer = torch.load(path, weights_only=True), io.BytesIO()
    own = {"schema": stamp["schema_version"], "somaflow": stamp["somaflow"]}
    torch.save({**content, **own}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    return buffer.getvalue() + f"\nsha256 {digest}".encode()
