"""Pages of Markdown as HTML that a screen reader, a phone and a printer can use.

Enters: Markdown as `Results` has it, and its pictures. Leaves: HTML, everything from outside
escaped, pictures inside. A picture that is not there becomes its caption.
"""

import base64
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd
from markdown_it import MarkdownIt
from markdown_it.token import Token

_NUMBER = re.compile(r"^[<>≥≤]?\s*[+−-]?((0|[1-9][\d,]*)(\.\d+)?|\.\d+)(\s?%)?(\s*\[.*\])?$")
_NONE = ("-", "–", "")
_NAMES = ("donor", "tile", "key", "inference")
"""Headings of columns that name things; a donor's id is a name though it be all digits."""
_SHORT = 20
"""Words of no more characters stay on one line."""
_MARKED = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&])")


@dataclass(frozen=True)
class Page:
    """A page to be put into the report.

    Attributes:
        anchor: what its headings' anchors start with.
        markdown: without its title.
        pictures: PNG bytes by name.
    """

    anchor: str
    markdown: str
    pictures: Mapping[str, bytes]


@dataclass(frozen=True)
class Heading:
    """A heading inside a page, for the table of contents."""

    anchor: str
    words: str
    level: int


def plain(words: object) -> str:
    """Any words as Markdown that shows just these, on one line."""
    return _MARKED.sub(r"\\\1", " ".join(str(words).split()))


def show(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text for `Results.add_table`: names in words, an empty cell where unknown."""
    text = table.astype(object).where(table.notna(), "-").map(plain)
    return text.rename(columns=lambda name: plain(str(name).removeprefix("n_").replace("_", " ")))


def render(page: Page, level: int = 3) -> tuple[str, list[Heading]]:
    """The page as HTML, and its headings.

    Args:
        page: to be rendered.
        level: of its highest headings; below it no level is left out.
    """
    # Raw HTML in a page is shown as words: whatever a tile or a donor is called stays a name.
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(page.markdown)
    headings = _set_headings(tokens, page.anchor, level)
    _set_tables(tokens, page.anchor)
    tokens = list(_set_pictures(_set_listings(tokens), page))
    return str(parser.renderer.render(tokens, parser.options, {})), headings


def _set_headings(tokens: Sequence[Token], anchor: str, level: int) -> list[Heading]:
    """Gives headings anchors, and levels without jumps."""
    headings: list[Heading] = []
    above: list[int] = []
    for place, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        raw = int(token.tag[1:])
        while above and above[-1] >= raw:
            above.pop()
        name = f"h{min(level + len(above), 6)}"
        above.append(raw)
        words = "".join(child.content for child in tokens[place + 1].children or [])
        headings.append(Heading(f"{anchor}-{len(headings) + 1}", words, int(name[1:])))
        token.attrSet("id", headings[-1].anchor)
        token.tag = tokens[place + 2].tag = name
    return headings


def _set_tables(tokens: Sequence[Token], anchor: str) -> None:
    """Scopes of header cells, numbers to the right, and a region that can be scrolled."""
    starts = [place for place, token in enumerate(tokens) if token.type == "table_open"]
    for number, start in enumerate(starts, 1):
        rows = _list_rows(tokens, start)
        heading = next(
            (
                tokens[place + 1].content
                for place in range(start, -1, -1)
                if tokens[place].type == "heading_open"
            ),
            "",
        )
        label = f"Table {number} of {anchor}" + (f": {heading}" if heading else "")
        tokens[start].meta["label"] = label
        _set_cells(tokens, rows)


def _list_rows(tokens: Sequence[Token], start: int) -> list[list[int]]:
    """Places of the opening tokens of each row's cells; the header's come first."""
    rows: list[list[int]] = []
    for place in range(start, len(tokens)):
        kind = tokens[place].type
        if kind == "tr_open":
            rows.append([])
        elif kind in ("th_open", "td_open"):
            rows[-1].append(place)
        elif kind == "table_close":
            break
    return rows


def _set_cells(tokens: Sequence[Token], rows: list[list[int]]) -> None:
    header, *body = rows
    for place in header:
        tokens[place].attrs.pop("style", None)
        tokens[place].attrSet("scope", "col")
    for column, place in enumerate(header):
        cells = [row[column] for row in body if column < len(row)]
        words = [tokens[cell + 1].content.strip() for cell in cells]
        known = [word for word in words if word not in _NONE]
        kind = _tell_kind(tokens[place + 1].content.strip(), known)
        for cell in [place, *cells]:
            tokens[cell].attrs.pop("style", None)
        for cell in [place, *cells] if kind == "number" else cells:
            if kind:
                tokens[cell].attrSet("class", kind)
        if column == 0:
            for cell in cells:
                tokens[cell].tag = tokens[cell + 2].tag = "th"
                tokens[cell].attrSet("scope", "row")


def _tell_kind(heading: str, words: Sequence[str]) -> str:
    """How a column is set: "number" to the right, "short" on one line, "" may be broken."""
    plain_words = [word.replace("\\", "") for word in words]
    if heading not in _NAMES and words and all(map(_NUMBER.match, plain_words)):
        return "number"
    return "short" if all(len(word) <= _SHORT for word in plain_words) else ""


def _set_listings(tokens: Sequence[Token]) -> Iterator[Token]:
    """Tables and listings in regions that the keyboard can scroll."""
    for token in tokens:
        if token.type == "table_open":
            label = html.escape(token.meta["label"])
            yield _raw(f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">')
            yield token
        elif token.type == "table_close":
            yield token
            yield _raw("</div>\n")
        elif token.type in ("fence", "code_block"):
            label = html.escape(token.info.strip() or "Listing")
            region = f'class="scroll" role="region" tabindex="0" aria-label="{label}"'
            yield _raw(f"<pre {region}><code>{html.escape(token.content)}</code></pre>\n")
        else:
            yield token


def _set_pictures(tokens: Iterator[Token], page: Page) -> Iterator[Token]:
    """A picture alone in a paragraph, with its caption below, becomes a figure."""
    listed = list(tokens)
    place = 0
    while place < len(listed):
        image = _picture_alone(listed, place)
        if image is None:
            yield _without_images(listed[place])
            place += 1
            continue
        caption = image.content
        place += 3
        if _is_caption(listed, place, caption):
            place += 3
        yield _raw(_draw_figure(str(image.attrs.get("src", "")), caption, page))


def _picture_alone(tokens: list[Token], place: int) -> Token | None:
    if place + 2 >= len(tokens) or tokens[place].type != "paragraph_open":
        return None
    children = tokens[place + 1].children or []
    return children[0] if len(children) == 1 and children[0].type == "image" else None


def _is_caption(tokens: list[Token], place: int, caption: str) -> bool:
    """Whether the paragraph is the caption in italics, as `Results.add_picture` writes it."""
    if place + 2 >= len(tokens) or tokens[place].type != "paragraph_open":
        return False
    return tokens[place + 1].content == f"*{caption}*"


def _without_images(token: Token) -> Token:
    """Nothing is ever fetched: a picture in the middle of words becomes its own words."""
    for child in token.children or []:
        if child.type == "image":
            child.type, child.tag, child.nesting = "text", "", 0
    return token


def _draw_figure(source: str, caption: str, page: Page) -> str:
    name = source.removesuffix(".png")
    words = html.escape(caption)
    if name not in page.pictures:
        return f"<p>{words} (the picture is not there)</p>\n"
    png = page.pictures[name]
    encoded = base64.b64encode(png).decode()
    width, height = (int.from_bytes(png[place : place + 4]) for place in (16, 20))
    file = f"figures/{quote(file_name(page.anchor, name))}"
    return (
        f'<figure><div class="frame"><img src="data:image/png;base64,{encoded}" alt="{words}" '
        f'width="{width}" height="{height}"></div>\n<figcaption>{words} '
        f'<span class="files"><a href="{file}.png" aria-label="PNG of {words}">PNG</a> '
        f'<a href="{file}.pdf" aria-label="PDF of {words}">PDF</a></span>'
        "</figcaption></figure>\n"
    )


def file_name(anchor: str, name: str) -> str:
    """What a figure or table of a page is called beside the report, without its ending."""
    return f"{anchor}-{name}".replace("/", "-")


def _raw(content: str) -> Token:
    return Token("html_block", "", 0, content=content)
