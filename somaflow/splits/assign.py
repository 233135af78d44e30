"""Assigns donors (or single tiles) to train, val and test, balanced over markers.

Enters: the table of labelled tiles and the wanted fractions. Leaves: sorted ids per split. Refuses
tiles without donor, fewer than three units and fractions that do not sum to 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from somaflow.errors import SplitError

SPLIT_NAMES = ("train", "val", "test")
Fractions = Mapping[str, float] | Sequence[float]

# A marker missing from a split outweighs any imbalance of counts.
_MISSING_COST = 1e6
# The number of donors only decides between assignments that are equally good in tiles.
_DONOR_COUNT_WEIGHT = 0.01
_N_RESTARTS = 24
# Few unequal donors have one best split: without this leeway every seed would give that same one,
# and repeats over seeds would silently be the same run. Where balance is exact there is no leeway.
_ABOUT_AS_GOOD = 1.5
# Above this many units the all-pairs swap would cost more memory than it gains balance.
_MAX_UNITS_TO_SWAP = 400


def split_donors(table: pd.DataFrame, fractions: Fractions, seed: int = 0) -> dict[str, list[str]]:
    """Sorted donors of train, val and test; every donor in one split alone, none of them empty.

    The tile counts of each marker in each split come as close to fraction x total as the donors
    allow, and every marker of at least three donors is put into every split where that is possible.
    The result depends on the seed and the set of tiles, not on the order of the rows. Another seed
    gives another split wherever more than one is about as good (up to half again the least
    chi-square distance); with fewer than about ten donors there may be a single one.

    Args:
        table: one row a labelled tile; columns donor, marker, tile_id.
        fractions: ``{"train": .6, "val": .2, "test": .2}`` or three numbers in that order;
            positive, summing to 1.
        seed: whole number, 0 or more.

    Raises:
        SplitError: for an empty table, missing columns, tiles without donor, fewer than three
            donors, or fractions that cannot be used.
    """
    check_table(table)
    donors = donor_names(table)
    _refuse_missing_donors(table, donors)
    return _split_units(donors, table["marker"], fractions, seed, "donors")


def split_images(table: pd.DataFrame, fractions: Fractions, seed: int = 0) -> dict[str, list[str]]:
    """Sorted tile ids of train, val and test, every tile its own unit: image-level splits.

    For data without donor identity. Tiles of one donor may land on both sides, so a score on such a
    split is not donor-level.

    Args:
        table: one row a labelled tile; columns donor, marker, tile_id.
        fractions: as for `split_donors`.
        seed: whole number, 0 or more.

    Raises:
        SplitError: for an empty table, missing columns, a tile id that occurs twice, fewer than
            three tiles, or fractions that cannot be used.
    """
    check_table(table)
    tiles = table["tile_id"].astype(str)
    if tiles.duplicated().any():
        twice = sorted(set(tiles[tiles.duplicated()]))
        raise SplitError(
            f"image-level splits need each tile once, found twice: {name_some(twice)}; "
            "remove the repeated rows"
        )
    return _split_units(tiles, table["marker"], fractions, seed, "tiles")


def parse_fractions(fractions: Fractions) -> dict[str, float]:
    """The three fractions by split name.

    Raises:
        SplitError: unless they are three positive numbers that sum to 1.
    """
    hint = "give three positive numbers that sum to 1, such as train 0.6, val 0.2, test 0.2"
    if isinstance(fractions, Mapping):
        if set(fractions) != set(SPLIT_NAMES):
            names = ", ".join(map(str, fractions))
            raise SplitError(f"fractions must name train, val and test, got {names}; {hint}")
        values = [fractions[name] for name in SPLIT_NAMES]
    else:
        values = list(fractions)
    if len(values) != len(SPLIT_NAMES) or not all(_is_positive(value) for value in values):
        raise SplitError(f"fractions must be three positive numbers, got {values}; {hint}")
    if abs(sum(values) - 1) > 1e-6:
        raise SplitError(f"fractions must sum to 1, got {values}, sum {sum(values):g}; {hint}")
    return dict(zip(SPLIT_NAMES, map(float, values), strict=True))


def check_table(table: pd.DataFrame) -> None:
    """Refuses a tile table that is empty or lacks a column that splits need.

    Raises:
        SplitError: naming what is missing.
    """
    missing = [name for name in ("donor", "marker", "tile_id") if name not in table.columns]
    if missing:
        raise SplitError(
            f"the tile table must have the columns donor, marker and tile_id, {', '.join(missing)} "
            "missing; pass the table of discover_tiles"
        )
    if table.empty:
        raise SplitError("splits need labelled tiles, the table is empty; check where labels lie")


def donor_names(table: pd.DataFrame) -> pd.Series:
    """The donor of each row as text without surrounding blanks, "" where there is none."""
    donors = table["donor"]
    return donors.astype(str).str.strip().where(donors.notna(), "")


def name_some(names: Sequence[str], limit: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _is_positive(value: object) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number and 0 < float(value) < float("inf")  # type: ignore[arg-type]


def _refuse_missing_donors(table: pd.DataFrame, donors: pd.Series) -> None:
    nameless = sorted(table.loc[donors == "", "tile_id"].astype(str))
    if nameless:
        raise SplitError(
            f"donor-level splits need the donor of every tile, {len(nameless)} of {len(table)} "
            f"tiles have none: {name_some(nameless)}; give a donor table (tile to donor), or ask "
            "for image-level splits explicitly (split_images), whose scores are not donor-level"
        )


def _split_units(
    units: pd.Series, markers: pd.Series, fractions: Fractions, seed: int, noun: str
) -> dict[str, list[str]]:
    shares = parse_fractions(fractions)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise SplitError(f"the seed of a split must be a whole number of 0 or more, got {seed!r}")
    # crosstab sorts rows and columns, which makes the result independent of the row order.
    counts = pd.crosstab(units.to_numpy(), markers.astype(str).to_numpy())
    if len(counts) < len(SPLIT_NAMES):
        raise SplitError(
            f"train, val and test need at least 3 {noun}, found {len(counts)}: "
            f"{name_some(list(map(str, counts.index)))}; add labelled tiles of other {noun}"
        )
    sides = assign_units(counts.to_numpy(), np.array(list(shares.values())), int(seed))
    names = counts.index.to_numpy()
    return {name: sorted(names[sides == side].tolist()) for side, name in enumerate(SPLIT_NAMES)}


def assign_units(counts: np.ndarray, fractions: np.ndarray, seed: int) -> np.ndarray:
    """The split (0, 1, 2) of each unit, by seeded restarts of a greedy start and improving steps.

    Minimised is the chi-square distance between tile counts and fraction x total, summed over
    splits and markers, so that a tile too many weighs more where few are expected. One of the
    assignments about as good as the best is drawn.

    Args:
        counts: (U, M) integers, tiles of unit u with marker m.
        fractions: (S,) floats that sum to 1.
        seed: whole number, 0 or more.
    """
    rng = np.random.default_rng(seed)
    balance = _Balance(counts, fractions)
    n_units = len(counts)
    n_restarts = _N_RESTARTS if n_units <= _MAX_UNITS_TO_SWAP else 2
    found = [balance.improve(balance.start(rng)) for _ in range(n_restarts)]
    missing, chi_square = np.divmod([balance.total(sides) for sides in found], _MISSING_COST)
    chi_square[missing > missing.min()] = np.inf
    good = np.flatnonzero(chi_square <= _ABOUT_AS_GOOD * chi_square.min() + 1e-9)
    return found[int(rng.choice(good))]


class _Balance:
    """The cost of an assignment, and the steps that lower it; letters: U units, S splits, M counts.

    The last of the M counts is 1 for every unit: the number of units, which also keeps every split
    from being empty.
    """

    def __init__(self, counts: np.ndarray, fractions: np.ndarray) -> None:
        self.counts = np.column_stack([counts, np.ones(len(counts))])  # (U, M)
        self.expected = fractions[:, None] * self.counts.sum(axis=0)  # (S, M)
        self.weights = np.ones(self.counts.shape[1])
        self.weights[-1] = _DONOR_COUNT_WEIGHT
        # A marker of one or two donors cannot be in three splits, so its absence costs nothing.
        self.spread = (self.counts > 0).sum(axis=0) >= len(fractions)  # (M,)

    def cost(self, filled: np.ndarray, split: np.ndarray | slice) -> np.ndarray:
        """The cost of splits filled with (..., M) tiles, without the last axis."""
        expected = self.expected[split]
        chi_square = (self.weights * (filled - expected) ** 2 / expected).sum(axis=-1)
        missing = ((filled == 0) & self.spread).sum(axis=-1)
        return chi_square + _MISSING_COST * missing

    def fill(self, sides: np.ndarray) -> np.ndarray:
        """(S, M) tiles of each split."""
        filled = np.zeros_like(self.expected)
        np.add.at(filled, sides, self.counts)
        return filled

    def total(self, sides: np.ndarray) -> float:
        """The cost of a whole assignment."""
        return float(self.cost(self.fill(sides), slice(None)).sum())

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """A greedy assignment in random order, large units rather first."""
        sizes = self.counts.sum(axis=1) * rng.uniform(0.5, 1.5, len(self.counts))
        sides = np.zeros(len(self.counts), int)
        filled = np.zeros_like(self.expected)
        for unit in np.argsort(-sizes):
            gain = self.cost(filled + self.counts[unit], slice(None)) - self.cost(
                filled, slice(None)
            )
            sides[unit] = gain.argmin()
            filled[sides[unit]] += self.counts[unit]
        return sides

    def improve(self, sides: np.ndarray) -> np.ndarray:
        """Takes the best single move or swap of two units until none lowers the cost."""
        sides = sides.copy()
        while True:
            filled = self.fill(sides)
            now = self.cost(filled, slice(None))  # (S,)
            changes = [self._move_changes(sides, filled, now)]
            if len(sides) <= _MAX_UNITS_TO_SWAP:
                changes.append(self._swap_changes(sides, filled, now))
            step = int(np.argmin([change.min() for change in changes]))
            change = changes[step]
            if change.min() > -1e-9:
                return sides
            unit, target = np.unravel_index(change.argmin(), change.shape)
            if step == 0:
                sides[unit] = target
            else:
                sides[[unit, target]] = sides[[target, unit]]

    def _move_changes(self, sides: np.ndarray, filled: np.ndarray, now: np.ndarray) -> np.ndarray:
        """(U, S) change of cost if unit u moved to split s; 0 where it already is."""
        left = self.cost(filled[sides] - self.counts, sides) - now[sides]  # (U,)
        joined = self.cost(filled[None] + self.counts[:, None], slice(None)) - now  # (U, S)
        change = left[:, None] + joined
        change[np.arange(len(sides)), sides] = 0
        return change

    def _swap_changes(self, sides: np.ndarray, filled: np.ndarray, now: np.ndarray) -> np.ndarray:
        """(U, U) change of cost if units u and v changed places; 0 within one split."""
        exchanged = filled[sides][:, None] - self.counts[:, None] + self.counts[None]  # (U, U, M)
        expected = np.broadcast_to(sides[:, None], exchanged.shape[:2])
        change = self.cost(exchanged, expected) - now[sides][:, None]
        change = change + change.T
        change[sides[:, None] == sides[None]] = 0
        return change
