"""The blocks of docs/session.md: what a person types, what is printed, what the dashboard shows."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(bash|text|markdown)\n(.*?)^```$", re.M | re.S)
_LEFT_OUT = "..."


@dataclass
class Block:
    """What is typed at once, and what follows."""

    typed: str
    """Shell commands, with the newline at their end."""
    printed: list[str] = field(default_factory=list)
    """Lines of what they print, as the document shortens them."""
    shown: list[str] = field(default_factory=list)
    """Lines of a page or table that the dashboard shows afterwards, likewise."""


def read_blocks(document: Path) -> list[Block]:
    """The blocks marked `bash`, in order, with the `text` and `markdown` below each."""
    blocks: list[Block] = []
    for kind, content in _FENCE.findall(document.read_text(encoding="utf-8")):
        if kind == "bash":
            blocks.append(Block(content))
        elif kind == "text":
            blocks[-1].printed += content.splitlines()
        else:
            blocks[-1].shown += content.splitlines()
    return blocks


def find_absent(wanted: Iterable[str], there: str) -> str | None:
    """The first line of the document that is not there, or not in its order; None if all are.

    Runs of blanks count as one, and `...` stands for anything; alone, for lines left out.
    """
    lines = iter(" ".join(line.split()) for line in there.splitlines())
    for line in (" ".join(line.split()) for line in wanted):
        pattern = re.compile(".*".join(re.escape(part) for part in line.split(_LEFT_OUT)))
        if line not in ("", _LEFT_OUT) and not any(pattern.fullmatch(other) for other in lines):
            return line
    return None
