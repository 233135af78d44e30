"""Short stable codes in place of donors' ids, for whatever leaves a study's own folder.

Enters: texts and tables that may name donors and quote traits. Leaves: the same with a code such as
`donor-kqzfbd` for each id, also inside tile ids and paths, and … for each cell of the trait table.
Codes are keyed by a random secret in the study's folder: those of two studies cannot be joined, and
hashing all numbers of eight digits tells nothing. An id of fewer than four characters looks like
any number or word; it is found in paths, tile ids, quotes, columns called donor, and behind the
word donor alone.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from somaflow.files import write_bytes, write_once
from somaflow.privacy.names import find_donor_names, find_trait_cells
from somaflow.study import Study
from somaflow.tiles.table import make_safe

WITHHELD = "…"
# Consonants alone: no code is a word, and none a number that could be an id.
_LETTERS, _LENGTH = "bcdfghjklmnpqrstvwxz", 6
_SHORT, _LONG = 4, 6
_NUMBER = re.compile(r"0*(\d+?)(?:\.0*)?", re.ASCII)
_DIGITS = re.compile(rf"(?<!\d)\d{{{_LONG},}}(?!\d)", re.ASCII)
_TOKEN = re.compile(r"[^\W_]+")
_QUOTED = re.compile(r'"([^"\n]*)"|(?<!\w)\'([^\'\n]*)\'(?!\w)')
# No page shows a statistic with so many decimals.
_DECIMAL = re.compile(r"(?<![\w.])[+-]?\d*\.\d{4,}(?![\w.])", re.ASCII)
_NAMED_BY_PLACE = re.compile(r"""(?<=[/_"'\\])[^\W_]+(?=[/_"'\\])|(?<=[/\\])[^\W_]+$""", re.M)
_BEHIND_DONOR = re.compile(rf"donor(?!-[{_LETTERS}]{{{_LENGTH}}})[^\n]*", re.IGNORECASE)


class DonorCodes:
    """The codes of one study's donors.

    Attributes:
        table: file that says whose code is whose.
    """

    def __init__(
        self, secret: bytes, names: Iterable[str], cells: Iterable[str], table: Path
    ) -> None:
        """Codes for the donors of these names.

        Args:
            secret: of the study.
            names: every spelling of an id; 0012, 12 and 12.0 are one donor.
            cells: of the trait table.
            table: file that says whose code is whose.
        """
        self.table = table
        self._secret, self._cells = secret, frozenset(cells)
        self._names = sorted(set(names))
        self._long: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self._phrases: dict[str, str] = {}
        for name in self._names:
            for spelling in {name, make_safe(name)}:
                self._learn(spelling, self.code(name))
        phrases = sorted(self._phrases, key=len, reverse=True)
        listed = "|".join(map(re.escape, phrases)) or r"(?!)"
        self._phrase = re.compile(rf"(?<![^\W_])(?:{listed})(?![^\W_])", re.IGNORECASE)

    @property
    def note(self) -> str:
        """Where the ids are to be found."""
        return f"Donors are shown as codes; whose they are stands in {self.table}"

    def code(self, donor: str) -> str:
        """The code of a donor, whether it is a known one or not."""
        digest = hmac.new(self._secret, _canonical(donor).encode(), hashlib.sha256).digest()
        number, letters = int.from_bytes(digest), ""
        for _ in range(_LENGTH):
            number, place = divmod(number, len(_LETTERS))
            letters += _LETTERS[place]
        return f"donor-{letters}"

    def hide(self, text: str) -> str:
        """The text without ids and traits; the same text if there are none, or no more."""
        text = _QUOTED.sub(self._hide_quoted, text)
        text = _DECIMAL.sub(self._hide_cell, text)
        text = self._phrase.sub(lambda found: self._phrases[found[0].casefold()], text)
        text = _DIGITS.sub(lambda found: _look_up(self._long, found[0]), text)
        text = _TOKEN.sub(lambda found: _look_up(self._tokens, found[0]), text)
        return self._hide_short(text) if self._short else text

    def hide_table(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table without ids and traits, in its cells and in the names of its columns."""
        columns = {
            self._hide_any(name): table[name].map(
                self._hide_donor if name == "donor" else self._hide_any
            )
            for name in table
        }
        return pd.DataFrame(columns, index=table.index)

    def tabulate(self) -> str:
        """Code and id of every donor, as TSV."""
        lines = ["code\tdonor", *(f"{self.code(name)}\t{name}" for name in self._names)]
        return "\n".join(lines) + "\n"

    def _learn(self, spelling: str, code: str) -> None:
        """Notes by which rule a spelling is found."""
        text = spelling.casefold()
        number = _NUMBER.fullmatch(text)
        if number and len(number[1]) >= _LONG:
            self._long[number[1]] = code
        elif number or _TOKEN.fullmatch(text):
            for token in {text, number[1] if number else text}:  # with and without its zeros
                (self._tokens if len(token) >= _SHORT else self._short)[token] = code
        else:
            self._phrases[text] = code

    def _hide_quoted(self, found: re.Match[str]) -> str:
        content = found[1] if found[1] is not None else found[2]
        if content in self._cells:
            return f"{found[0][0]}{WITHHELD}{found[0][-1]}"
        return found[0]

    def _hide_cell(self, found: re.Match[str]) -> str:
        return WITHHELD if found[0] in self._cells else found[0]

    def _hide_donor(self, value: Any) -> Any:
        return self.code(str(value)) if str(value) in self._names else self._hide_any(value)

    def _hide_any(self, value: Any) -> Any:
        return self.hide(value) if isinstance(value, str) else value

    def _hide_short(self, text: str) -> str:
        def look_up(found: re.Match[str]) -> str:
            return self._short.get(found[0].casefold(), found[0])

        text = _NAMED_BY_PLACE.sub(look_up, text)
        text = _BEHIND_DONOR.sub(lambda rest: _TOKEN.sub(look_up, rest[0]), text)
        return _in_donor_columns(text, lambda cell: _TOKEN.sub(look_up, cell))


def donor_codes(study: Study) -> DonorCodes | None:
    """The codes of a study, with their secret and table written; None if it shows its donors.

    Raises:
        OutputError: if the output folder cannot be written.
    """
    if study.show_donors:
        return None
    paths = study.paths
    if not paths.code_secret.exists():
        write_once(paths.code_secret, secrets.token_hex(32).encode())
    secret = bytes.fromhex(paths.code_secret.read_text())
    codes = DonorCodes(secret, find_donor_names(study), find_trait_cells(study), paths.donor_codes)
    content = codes.tabulate().encode()
    if not paths.donor_codes.exists() or paths.donor_codes.read_bytes() != content:
        write_bytes(paths.donor_codes, content)
    return codes


def _canonical(name: str) -> str:
    """One spelling for those of one donor: a number without the zeros that a numeric read loses."""
    text = name.strip().casefold()
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text


def _look_up(codes: dict[str, str], token: str) -> str:
    text = token.casefold()
    plain = text.lstrip("0") if text.isdigit() else text
    return codes.get(text) or codes.get(plain) or token


def _in_donor_columns(text: str, hide: Callable[[str], str]) -> str:
    """The text with cells changed that stand below «donor» in a Markdown table."""
    lines: list[str] = []
    places: list[int] = []
    for line in text.split("\n"):
        cells = line.split("|")
        if len(cells) < 3:
            places = []
        elif not places:
            places = [n for n, cell in enumerate(cells) if cell.strip().casefold() == "donor"]
        else:
            cells = [hide(cell) if n in places else cell for n, cell in enumerate(cells)]
        lines.append("|".join(cells))
    return "\n".join(lines)
