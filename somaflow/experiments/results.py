"""What an experiment leaves behind: a page of words, tables and pictures, as files.

Enters: the parts. Leaves: ``summary.md`` in a folder of its own, beside each table as TSV and each
picture as PNG. The same page, with its pictures inside, is what the dashboard shows.
"""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from somaflow.files import write_bytes

_JPEG_QUALITY = 85
SUMMARY = "summary.md"


@dataclass
class Results:
    """The page of one experiment, part by part in the order of adding."""

    title: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Whole tables by file name without ending."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG bytes by file name without ending."""
    _parts: list[str] = field(default_factory=list)

    def add_words(self, words: str) -> None:
        """Adds a paragraph, or any Markdown."""
        self._parts.append(words)

    def add_table(self, name: str, whole: pd.DataFrame, shown: pd.DataFrame) -> None:
        """Adds a table: all of it as a file, `shown` of it (text columns) on the page."""
        self.tables[name] = whole
        self._parts.append(_as_markdown(shown))

    def add_picture(self, name: str, content: bytes, caption: str) -> None:
        """Adds a PNG under its caption, which is also its text for those who cannot see it."""
        self.pictures[name] = content
        self._parts.append(f"![{caption}]({name}.png)\n\n*{caption}*")

    @property
    def markdown(self) -> str:
        """The page; pictures are links to files beside it."""
        return "\n\n".join([f"# {self.title}", *self._parts]) + "\n"


def merge_results(title: str, pages: Iterable[Results]) -> Results:
    """One page of several, each under its own heading."""
    merged = Results(title)
    for page in pages:
        merged.add_words(f"## {page.title}")
        merged._parts += page._parts
        merged.tables |= page.tables
        merged.pictures |= page.pictures
    return merged


def write_results(results: Results, folder: Path) -> Path:
    """Writes tables and pictures, then, last of all, the page; returns its path."""
    for name, table in results.tables.items():
        _write_changed(folder / f"{name}.tsv", table.to_csv(sep="\t", index=False).encode())
    for name, content in results.pictures.items():
        _write_changed(folder / f"{name}.png", content)
    path = folder / SUMMARY
    _write_changed(path, results.markdown.encode())
    return path


def embed_pictures(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The page with its pictures inside, as JPEG to spare the server's database."""
    for name, content in pictures.items():
        encoded = base64.b64encode(_as_jpeg(content)).decode()
        markdown = markdown.replace(f"]({name}.png)", f"](data:image/jpeg;base64,{encoded})")
    return markdown


def _as_jpeg(png: bytes) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(content, "JPEG", quality=_JPEG_QUALITY)
    return content.getvalue()


def _as_markdown(table: pd.DataFrame) -> str:
    rows = [list(map(str, table.columns)), ["---"] * table.shape[1]]
    rows += [[str(value).replace("|", "/") for value in row] for row in table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _write_changed(path: Path, content: bytes) -> None:
    """Leaves an equal file as it is: a finished experiment looked up again writes nothing."""
    if not path.exists() or path.read_bytes() != content:
        write_bytes(path, content)
