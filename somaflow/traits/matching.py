"""Which row of a trait table is about which donor of the tiles.

Enters: the ids of either side, as each spells them. Leaves: pairs, and whoever has no partner.
Refuses to guess where several spellings of one number could be one person or two.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from somaflow.traits.wording import shorten

_DIGITS = re.compile(r"0*(\d+?)(\.0*)?", re.ASCII)


@dataclass(frozen=True)
class Match:
    """Donors of the tiles and donors of the trait table, paired.

    Attributes:
        donors: spelling of the tiles by spelling of the trait table; one to one.
        without_traits: donors of the tiles that have no partner, sorted.
        without_tiles: donors of the trait table that have no partner, sorted.
        ambiguous: groups of donors that are one number in several spellings, of the tiles and of
            the trait table; they are in the lists above too.
    """

    donors: dict[str, str]
    without_traits: list[str]
    without_tiles: list[str]
    ambiguous: list[tuple[list[str], list[str]]]

    def rename(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of a trait table whose donor has tiles, with `donor` spelled as the tiles do."""
        chosen = table[table["donor"].isin(list(self.donors))]
        return chosen.assign(donor=chosen["donor"].map(self.donors)).reset_index(drop=True)

    def describe(self) -> list[str]:
        """How many pairs there are and who has no partner, a line each."""
        n_tiles = len(self.donors) + len(self.without_traits)
        n_traits = len(self.donors) + len(self.without_tiles)
        if not self.donors:
            return [
                f"none of {n_tiles} donors with tiles is among the {n_traits} of the trait table: "
                f"tiles have {_quote(self.without_traits)}, traits have "
                f"{_quote(self.without_tiles)}; name as `id_column` in the codebook the column "
                "with the ids of the tiles' folders or donor table",
                *self._describe_ambiguous(),
            ]
        first = f"{len(self.donors)} of {n_tiles} donors with tiles have traits"
        if self.without_traits:
            first += f"; without: {shorten(self.without_traits)}"
        lines = [first]
        if self.without_tiles:
            lines.append(
                f"{len(self.without_tiles)} of {n_traits} donors of the trait table have no tile: "
                f"{shorten(self.without_tiles)}"
            )
        return lines + self._describe_ambiguous()

    def _describe_ambiguous(self) -> list[str]:
        return [
            f"one number in several spellings is not matched: tiles have {_quote(tiles)}, traits "
            f"have {_quote(traits)}; give every donor one id, spelled alike on either side"
            for tiles, traits in self.ambiguous
        ]


def match_donors(tile_donors: Iterable[str], trait_donors: Iterable[str]) -> Match:
    """Pairs the donors of the tiles with those of a trait table.

    Equal spellings are pairs. Ids of digits are pairs too if they are the same number: leading
    zeros that a numeric read lost, and a ".0" that it appended, do not count. Where a number has
    several spellings on a side ("0012" and "12"), they are pairs only if the other side has the
    very same ones; otherwise none of them is matched, since a lost zero could make one the other.

    Args:
        tile_donors: as the tile table spells them; "" (unknown) is nobody, repeats do not matter.
        trait_donors: as the trait table spells them.
    """
    tiles, traits = _group(tile_donors), _group(trait_donors)
    donors: dict[str, str] = {}
    ambiguous = []
    for number in sorted(tiles.keys() & traits.keys()):
        ours, theirs = tiles[number], traits[number]
        if ours == theirs:
            donors |= {name: name for name in sorted(ours)}
        elif len(ours) == len(theirs) == 1:
            donors[min(theirs)] = min(ours)
        else:
            ambiguous.append((sorted(ours), sorted(theirs)))
    return Match(
        donors=donors,
        without_traits=sorted(set().union(*tiles.values()) - set(donors.values())),
        without_tiles=sorted(set().union(*traits.values()) - set(donors)),
        ambiguous=ambiguous,
    )


def _group(names: Iterable[str]) -> dict[str, set[str]]:
    """Spellings by what they have in common: the number, or the spelling itself."""
    groups: dict[str, set[str]] = {}
    for name in map(str, names):
        if name:
            match = _DIGITS.fullmatch(name)
            groups.setdefault(match[1] if match else name, set()).add(name)
    return groups


def _quote(names: list[str]) -> str:
    return shorten([f'"{name}"' for name in names], n_shown=3) or "none"
