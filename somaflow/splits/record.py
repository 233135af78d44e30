"""`Splits`: who is on which side, as an object, as columns of a tile table, and as a YAML file.

Enters: the tile table and fractions, or a ``splits.yaml`` that somebody may have edited by hand.
Leaves: a checked `Splits`. Refuses a donor on two sides, an empty split, and donors that the tile
table does not know or that have no side.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml

from somaflow.errors import SplitError
from somaflow.files import write_text
from somaflow.schema import SPLITS, check_stamp, make_stamp
from somaflow.splits.assign import (
    SPLIT_NAMES,
    Fractions,
    check_table,
    donor_names,
    name_some,
    parse_fractions,
    split_donors,
    split_images,
)

Level = Literal["donor", "image"]
TileCounts = dict[str, dict[str, int]]

_HEADERS = {
    "donor": "# donor-level splits: every donor, with all of its tiles, is in one split alone.\n",
    "image": (
        "# image-level splits: tiles were split one by one, donors unknown or ignored.\n"
        "# WARNING: tiles of one donor may be on both sides, so scores on these splits are not\n"
        "# donor-level.\n"
    ),
}
_EDITING = (
    "# Written by somaflow. Lines may be moved between train, val and test by hand; n_tiles is\n"
    "# for the reader and is counted anew.\n"
)


@dataclass(frozen=True)
class Splits:
    """Donors (or, at image level, tiles) of train, val and test.

    Raises:
        SplitError: if a unit is in two splits, a split is empty or unknown, or the fractions cannot
            be used.
    """

    level: Level
    """`donor`, or `image` where every tile was its own unit."""
    seed: int
    """Seed of the assignment."""
    fractions: Mapping[str, float]
    """Share of the tiles that each split was to get."""
    units: Mapping[str, list[str]]
    """Sorted donors (at image level tile ids) per split."""
    n_tiles: TileCounts = field(default_factory=dict, compare=False)
    """Labelled tiles per split and marker when the splits were made; for the reader."""

    def __post_init__(self) -> None:
        """Checks what a hand-edited file could break."""
        parse_fractions(self.fractions)
        if self.level not in _HEADERS:
            raise SplitError(f"the level of splits must be donor or image, got {self.level!r}")
        if set(self.units) != set(SPLIT_NAMES):
            raise SplitError(f"splits must be train, val and test, got {', '.join(self.units)}")
        empty = [name for name in SPLIT_NAMES if not self.units[name]]
        if empty:
            raise SplitError(f"every split needs a {self.noun}, {', '.join(empty)} has none")
        self._refuse_two_sides()

    @property
    def noun(self) -> str:
        """What one unit is called: donor or tile."""
        return "donor" if self.level == "donor" else "tile"

    def side_of(self) -> dict[str, str]:
        """The split of each unit."""
        return {unit: name for name in SPLIT_NAMES for unit in self.units[name]}

    def tiles(self, table: pd.DataFrame) -> pd.DataFrame:
        """A copy of the tile table with the columns split and split_level.

        Args:
            table: columns donor, marker, tile_id; it may hold fewer donors than the splits.

        Raises:
            SplitError: naming the donors (or tiles) of the table that are in no split.
        """
        check_table(table)
        units = self._units_of(table)
        sides = units.map(self.side_of())
        stray = sorted(set(units[sides.isna()]))
        if stray:
            raise SplitError(
                f"every {self.noun} must be in a split, {len(stray)} are in none: "
                f"{name_some([repr(unit) for unit in stray])}; add them to the splits file or make "
                "the splits anew"
            )
        return table.assign(split=sides.astype(object), split_level=self.level)

    def check_against(self, table: pd.DataFrame) -> None:
        """Refuses splits that name other donors (or tiles) than the table of labelled tiles.

        Raises:
            SplitError: naming who is in no split, or in a split but not in the table.
        """
        self.tiles(table)
        unknown = sorted(set(self.side_of()) - set(self._units_of(table)))
        if unknown:
            raise SplitError(
                f"the splits name {len(unknown)} {self.noun}s that no labelled tile has: "
                f"{name_some([repr(unit) for unit in unknown])}; correct their spelling (leading "
                "zeros count) or remove them"
            )

    def _units_of(self, table: pd.DataFrame) -> pd.Series:
        return donor_names(table) if self.level == "donor" else table["tile_id"].astype(str)

    def _refuse_two_sides(self) -> None:
        sides: dict[str, list[str]] = {}
        for name in SPLIT_NAMES:
            for unit in self.units[name]:
                sides.setdefault(unit, []).append(name)
        twice = [f"{unit} ({' and '.join(at)})" for unit, at in sides.items() if len(at) > 1]
        if twice:
            raise SplitError(
                f"a {self.noun} must be in one split alone, found twice: {name_some(twice)}; "
                "remove it from all but one"
            )


def make_splits(
    table: pd.DataFrame, fractions: Fractions, seed: int = 0, level: Level = "donor"
) -> Splits:
    """Splits the donors (level `donor`) or the tiles (level `image`) of the labelled tiles.

    Raises:
        SplitError: for an unknown level, and as `split_donors` and `split_images` do.
    """
    split = {"donor": split_donors, "image": split_images}.get(level)
    if split is None:
        raise SplitError(f"the level of splits must be donor or image, got {level!r}")
    units = split(table, fractions, seed)
    splits = Splits(level, int(seed), parse_fractions(fractions), units)
    return _with_counts(splits, table)


def describe_balance(splits: Splits, table: pd.DataFrame) -> pd.DataFrame:
    """How many tiles and donors each split holds: columns split, marker, n_tiles, n_donors.

    One row for every split and marker, also where there is none; tiles without donor count as
    tiles.
    """
    tiles = splits.tiles(table)
    tiles["donor"] = donor_names(tiles)
    rows = []
    for name in SPLIT_NAMES:
        for marker in sorted(set(tiles["marker"])):
            part = tiles[(tiles["split"] == name) & (tiles["marker"] == marker)]
            rows.append((name, marker, len(part), len(set(part["donor"]) - {""})))
    return pd.DataFrame(rows, columns=["split", "marker", "n_tiles", "n_donors"])


def save_splits(splits: Splits, path: Path) -> None:
    """Writes the splits as YAML that a person can read and edit.

    Raises:
        OutputError: if the place cannot be written.
    """
    write_text(Path(path), format_splits(splits))


def format_splits(splits: Splits) -> str:
    """The splits as YAML text, with the level in its first comment."""
    content = {
        **make_stamp(SPLITS),
        "level": splits.level,
        "seed": splits.seed,
        "fractions": {name: float(splits.fractions[name]) for name in SPLIT_NAMES},
        f"{splits.noun}s": {name: list(splits.units[name]) for name in SPLIT_NAMES},
        "n_tiles": splits.n_tiles,
    }
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return _HEADERS[splits.level] + _EDITING + body


def load_splits(path: Path, table: pd.DataFrame | None = None) -> Splits:
    """Reads and checks a splits file.

    Args:
        path: as written by `save_splits`, perhaps edited by hand.
        table: the labelled tiles; if given, the file must name exactly their donors (or tiles).

    Raises:
        FileNotFoundError: if there is no such file.
        SplitError: if the file is not a splits file, a donor is in two splits, or its donors are
            not those of the table.
        SchemaError: if a newer somaflow wrote it.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        # BaseLoader leaves every scalar a text: an unquoted donor 00246264 is no octal number.
        content = yaml.load(text, Loader=yaml.BaseLoader)  # a safe loader: builds texts only
        if isinstance(content, dict):
            check_stamp(SPLITS, path, content)
        splits = _parse(content)
        if table is None:
            return splits
        splits.check_against(table)
    except (SplitError, yaml.YAMLError) as error:
        raise SplitError(f"{path}: {error}") from error
    return _with_counts(splits, table)


def _parse(content: object) -> Splits:
    if not isinstance(content, dict):
        raise SplitError("a splits file must hold level, seed, fractions and donors or tiles")
    level: Level = content.get("level", "")
    try:
        units = content["tiles" if level == "image" else "donors"]
        return Splits(
            level=level,
            seed=int(content["seed"]),
            fractions={name: float(share) for name, share in content["fractions"].items()},
            units={name: sorted(map(str, listed or ())) for name, listed in units.items()},
            n_tiles={
                name: {marker: int(n) for marker, n in counts.items()}
                for name, counts in content.get("n_tiles", {}).items()
            },
        )
    except SplitError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SplitError(
            f"a splits file must hold level, seed, fractions and donors (or tiles at image level), "
            f"one list for train, val and test each; cannot read it: {error!r}"
        ) from error


def _with_counts(splits: Splits, table: pd.DataFrame) -> Splits:
    counts: TileCounts = {name: {} for name in SPLIT_NAMES}
    for name, marker, n_tiles, _ in describe_balance(splits, table).to_numpy().tolist():
        counts[name][marker] = n_tiles
    return Splits(splits.level, splits.seed, splits.fractions, splits.units, counts)
