"""The report's HTML document: landmarks, table of contents, and a section a part.

Enters: parts in order. Leaves: one self-contained document.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from somaflow.experiments.results import Results
from somaflow.report.markup import Heading, Page, file_name, render
from somaflow.report.style import write_style
from somaflow.schema import REPORT
from somaflow.stamps import write_meta


@dataclass(frozen=True)
class Part:
    """A section of the report.

    Attributes:
        anchor: in the document, and what its files start with.
        title: its heading.
        page: what it shows; None where it was not run.
        command: makes it; shown where it was not run.
    """

    anchor: str
    title: str
    page: Results | None
    command: str = ""


def write_document(title: str, digest: str, subtitle: Sequence[str], parts: Sequence[Part]) -> str:
    """The document.

    Args:
        title: its one h1.
        digest: of what it says; stands in its head.
        subtitle: lines below it.
        parts: in order.
    """
    sections, entries = [], []
    for part in parts:
        body, headings = _write_section(part)
        sections.append(body)
        entries.append(_write_entry(part, headings))
    lines = "\n".join(f"<p>{html.escape(line)}</p>" for line in subtitle)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="somaflow-content" content="{digest}">
{write_meta(REPORT)}
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{write_style()}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header>
<h1>{html.escape(title)}</h1>
{lines}
</header>
<div class="layout">
<nav aria-labelledby="contents">
<h2 id="contents">Contents</h2>
<ol>
{"".join(entries)}</ol>
</nav>
<main id="main">
{"".join(sections)}</main>
</div>
<footer>
<p>Figures lie in figures/, tables in tables/ and what their columns mean in columns.tsv, beside
this file. The file itself needs none of them, and no network.</p>
</footer>
</body>
</html>
"""


def _write_section(part: Part) -> tuple[str, list[Heading]]:
    heading = f'<h2 id="{part.anchor}-title">{html.escape(part.title)}</h2>'
    opened = f'<section id="{part.anchor}" aria-labelledby="{part.anchor}-title">\n{heading}\n'
    if part.page is None:
        command = f"<code>{html.escape(part.command)}</code>"
        body = f'<p class="absent-part">Not run. {command} makes this part.</p>\n'
        return f"{opened}{body}</section>\n", []
    _, _, words = part.page.markdown.partition("\n")
    body, headings = render(Page(part.anchor, words, part.page.pictures))
    return f"{opened}{body}{_list_tables(part)}</section>\n", headings


def _list_tables(part: Part) -> str:
    """Links to the tables of a part, as files."""
    if part.page is None or not part.page.tables:
        return ""
    links = []
    for name in part.page.tables:
        file = f"tables/{quote(file_name(part.anchor, name))}"
        words = html.escape(name)
        links.append(
            f'{words} <a href="{file}.tsv" aria-label="{words} as TSV">TSV</a> '
            f'<a href="{file}.parquet" aria-label="{words} as parquet">parquet</a>'
        )
    return f'<p class="tables">Tables as files: {"; ".join(links)}.</p>\n'


def _write_entry(part: Part, headings: Sequence[Heading]) -> str:
    top = min((heading.level for heading in headings), default=0)
    below = "".join(
        f'<li><a href="#{heading.anchor}">{html.escape(heading.words)}</a></li>\n'
        for heading in headings
        if heading.level == top
    )
    below = f"\n<ol>\n{below}</ol>\n" if below else ""
    absent = "" if part.page is not None else ' <span class="absent">(not run)</span>'
    title = html.escape(part.title)
    return f'<li><a href="#{part.anchor}">{title}{absent}</a>{below}</li>\n'
