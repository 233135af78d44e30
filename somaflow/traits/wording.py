"""Traits in words: directions, counts and lists for reports and messages."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from somaflow.traits.codebook import DIRECTION_WORDS


def shorten(names: Sequence[object], separator: str = ", ", n_shown: int = 10) -> str:
    """The first `n_shown` names, and how many more there are."""
    shown = separator.join(str(name) for name in names[:n_shown])
    return shown if len(names) <= n_shown else f"{shown} and {len(names) - n_shown} more"


def describe_direction(direction: str, meaning: str = "") -> str:
    """Which end of a trait is worse, in words: "Braak stage of tangles, 0 to 6; higher is worse".

    Args:
        direction: of the codebook.
        meaning: of the codebook; "" gives the direction alone.
    """
    return "; ".join(filter(None, [meaning, DIRECTION_WORDS[direction]]))


def describe_traits(notes: pd.DataFrame) -> pd.DataFrame:
    """What is known of each trait, as a table of text.

    Args:
        notes: of `Traits`.

    Returns:
        A row a trait: trait, kind, meaning, direction, donors (with a value), missing (how many
        and why; "-" for none), censored ("-" or how many), different values.
    """
    rows: Iterable[Any] = notes.itertuples()
    return pd.DataFrame(
        [
            {
                "trait": row.column,
                "kind": row.kind,
                "meaning": row.meaning or "-",
                "direction": DIRECTION_WORDS[row.direction] if row.kind != "category" else "-",
                "donors": str(row.n_values),
                "missing": _describe_missing(row),
                "censored": str(row.n_top_coded or "-"),
                "different values": str(row.n_distinct),
            }
            for row in rows
        ]
    )


def _describe_missing(row: Any) -> str:
    reasons = {
        "blank": row.n_blank,
        "coded as missing": row.n_missing_code,
        "unreadable": row.n_unreadable,
        "not allowed": row.n_outside,
    }
    found = [f"{count} {reason}" for reason, count in reasons.items() if count]
    if not found:
        return "-"
    return f"{row.n_missing} ({', '.join(found)})"
