"""What an experiment leaves behind: a page of words, tables and pictures, as files.

Enters: the parts. Leaves: ``summary.md`` in a folder of its own, beside each table as TSV and each
picture as PNG and PDF. The same page, with its pictures inside, is what the dashboard shows; the
report reads it from its folder again.
"""

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from somaflow.errors import StoreError
from somaflow.figures.pictures import Picture, wrap_png
from somaflow.files import write_bytes
from somaflow.schema import PAGE, make_stamp
from somaflow.stamps import check_file

_JPEG_QUALITY = 85
# That is not escaped yet.
_BAR = re.compile(r"(?<!\\)\|")
SUMMARY = "summary.md"
_STAMP = "schema.json"
# A donor called 00900001 is no number.
_TEXT_COLUMNS = ("donor", "tile_id", "marker", "region", "recipe")


@dataclass
class Results:
    """The page of one experiment, part by part in the order of adding."""

    title: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Whole tables by file name without ending."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG bytes, or `Picture`, by file name without ending."""
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
    """Writes tables and pictures, then, last of all, the page; returns its path.

    Raises:
        SchemaError: if a newer somaflow wrote what is there.
    """
    check_page(folder)
    for name, table in results.tables.items():
        _write_changed(folder / f"{name}.tsv", table.to_csv(sep="\t", index=False).encode())
    for name, content in results.pictures.items():
        pdf = folder / f"{name}.pdf"
        if _write_changed(folder / f"{name}.png", content) or not pdf.exists():
            write_bytes(pdf, as_pdf(content))
    path, content = folder / SUMMARY, results.markdown.encode()
    if not path.exists() or path.read_bytes() != content:
        write_bytes(folder / _STAMP, json.dumps(make_stamp(PAGE)).encode() + b"\n")
        write_bytes(path, content)
    return path


def check_page(folder: Path) -> None:
    """Refuses a page, with its tables, that a newer somaflow wrote; an absent one passes.

    Raises:
        SchemaError: if it did.
    """
    check_file(PAGE, folder / _STAMP)


def read_results(folder: Path) -> Results:
    """The page that `write_results` left in a folder, with all of its tables and pictures.

    Raises:
        StoreError: if there is no page, or a table is not one.
        SchemaError: if a newer somaflow wrote it.
    """
    check_page(folder)
    path = folder / SUMMARY
    if not path.is_file():
        raise StoreError(f"results must have a page, found none at {path}; run their flow again")
    title, _, body = path.read_text(encoding="utf-8").partition("\n")
    results = Results(title.removeprefix("# ").strip())
    results.add_words(body.strip())
    results.tables = {file.stem: read_table(file) for file in sorted(folder.glob("*.tsv"))}
    results.pictures = {file.stem: file.read_bytes() for file in sorted(folder.glob("*.png"))}
    for name, png in results.pictures.items():
        pdf = folder / f"{name}.pdf"
        if pdf.is_file():
            results.pictures[name] = Picture(png, pdf.read_bytes())
    return results


def read_table(path: Path) -> pd.DataFrame:
    """A table as `write_results` wrote it; names stay text, an empty cell is missing.

    Raises:
        StoreError: if the file is not a table.
    """
    try:
        names = pd.read_csv(path, sep="\t", nrows=0).columns
        kinds = {name: str for name in names if name in _TEXT_COLUMNS}
        return pd.read_csv(path, sep="\t", dtype=kinds, keep_default_na=False, na_values=[""])
    except (ValueError, pd.errors.ParserError) as error:
        raise StoreError(
            f"table must be one that somaflow wrote, {path} is not ({error}); run its flow again"
        ) from error


def as_pdf(picture: bytes) -> bytes:
    """The picture as PDF: as it was drawn, or, where only pixels are left, those."""
    return picture.pdf if isinstance(picture, Picture) else wrap_png(picture)


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
    rows = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    cells = [[_BAR.sub(r"\|", str(value)) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _write_changed(path: Path, content: bytes) -> bool:
    """Leaves an equal file as it is: a finished experiment looked up again writes nothing."""
    if path.exists() and path.read_bytes() == content:
        return False
    write_bytes(path, content)
    return True
