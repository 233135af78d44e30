"""Assignment of donors and images to splits."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import SplitError
from somaflow.splits import SPLIT_NAMES, split_donors, split_images
from tests.splits.tables import FRACTIONS, MARKERS, tabulate, tabulate_even, tabulate_study

counts = st.lists(
    st.tuples(st.sampled_from([f"d{n}" for n in range(9)]), st.sampled_from(MARKERS), st.just(1)),
    min_size=3,
    max_size=30,
).filter(lambda drawn: len({donor for donor, _, _ in drawn}) >= 3)
shares = st.sampled_from([(0.6, 0.2, 0.2), (0.34, 0.33, 0.33), (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)])


@given(counts, shares, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_split_puts_each_donor_in_exactly_one_split(drawn, fractions, seed):
    """Whatever the table, every donor is in one split alone and no split is empty."""
    table = tabulate(drawn).assign(tile_id=range(len(drawn)))
    splits = split_donors(table, fractions, seed)
    placed = [donor for name in SPLIT_NAMES for donor in splits[name]]
    assert sorted(set(table["donor"])) == sorted(placed)
    assert all(splits[name] for name in SPLIT_NAMES)


@given(counts, st.integers(0, 2**31), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_split_is_independent_of_row_order(drawn, seed, random):
    """The same tiles in another order give the same donors, sorted, for the same seed."""
    table = tabulate(drawn).assign(tile_id=range(len(drawn)))
    order = list(range(len(table)))
    random.shuffle(order)
    splits = split_donors(table, FRACTIONS, seed)
    assert splits == split_donors(table.iloc[order], FRACTIONS, seed)
    assert all(splits[name] == sorted(splits[name]) for name in SPLIT_NAMES)


def test_split_differs_with_the_seed():
    """Twenty seeds give twenty different splits of a study of the usual size."""
    table = tabulate_study()
    found = {str(split_donors(table, FRACTIONS, seed)) for seed in range(20)}
    assert 20 == len(found)


def test_split_of_the_study_is_balanced_in_every_marker():
    """30 tiles a marker at 60/20/20 become 18, 6 and 6 of each, give or take one."""
    for seed in range(5):
        table = tabulate_study(seed)
        found = _count(table, split_donors(table, FRACTIONS, seed))
        expected = np.array([[18] * 4, [6] * 4, [6] * 4])
        assert np.abs(found - expected).max() <= 1


def test_split_is_close_to_the_best_of_all_assignments():
    """On few donors with unequal tiles, the chi-square distance is within the stated leeway."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        drawn = rng.integers(1, 6, (7, 2))
        table = tabulate([(f"d{d}", MARKERS[m], int(n)) for (d, m), n in np.ndenumerate(drawn)])
        expected = np.outer([0.6, 0.2, 0.2], drawn.sum(axis=0))

        def distance(found, expected=expected):
            return ((found - expected) ** 2 / expected).sum()

        best = min(
            distance(np.stack([drawn[np.array(sides) == side].sum(axis=0) for side in range(3)]))
            for sides in itertools.product(range(3), repeat=7)
            if len(set(sides)) == 3
        )
        found = distance(_count(table, split_donors(table, FRACTIONS, seed)))
        assert found <= 1.5 * best + 0.1


def test_split_gives_every_marker_to_every_split_where_donors_allow_it():
    """A marker of three donors reaches all splits, even beside a marker of many donors."""
    table = tabulate(
        [(f"a{n}", "NeuN", 4) for n in range(20)] + [(f"b{n}", "GFAP", 1) for n in range(3)]
    )
    assert [1, 1, 1] == _count(table, split_donors(table, FRACTIONS))[:, 0].tolist()


def test_split_takes_fractions_as_mapping_or_sequence():
    """The order of a sequence is train, val, test; a mapping may be in any order."""
    table = tabulate_even()
    named = {"test": 0.2, "train": 0.6, "val": 0.2}
    assert split_donors(table, named) == split_donors(table, (0.6, 0.2, 0.2))
    assert [6, 2, 2] == [len(split_donors(table, named)[name]) for name in SPLIT_NAMES]


def test_split_refuses_tiles_without_donor_and_names_both_ways_out():
    """The message counts and names the tiles, and offers a donor table or image-level splits."""
    table = tabulate_even(8)
    table.loc[[1, 5], "donor"] = ["", None]
    names = sorted(table.loc[[1, 5], "tile_id"])
    with pytest.raises(SplitError, match="2 of 32") as caught:
        split_donors(table, FRACTIONS)
    assert all(words in str(caught.value) for words in [*names, "donor table", "split_images"])


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ((0.6, 0.4), "three positive"),
        ((0.6, 0.4, 0.0), "three positive"),
        ((0.6, 0.6, -0.2), "three positive"),
        ((0.6, 0.2, float("nan")), "three positive"),
        ((True, 0.5, 0.5), "three positive"),
        ((0.6, 0.2, 0.1), "sum to 1"),
        ({"train": 0.6, "valid": 0.2, "test": 0.2}, "train, val and test"),
    ],
)
def test_split_refuses_fractions(fractions, words):
    """Fractions that are not three positive numbers summing to 1 are refused."""
    with pytest.raises(SplitError, match=words):
        split_donors(tabulate_even(), fractions)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (tabulate_even(2), "at least 3 donors, found 2: d00, d01"),
        (tabulate([]), "empty"),
        (tabulate_even().drop(columns="donor"), "donor missing"),
    ],
)
def test_split_refuses_tables(table, words):
    """Too few donors, no rows and missing columns are refused by name."""
    with pytest.raises(SplitError, match=re.escape(words)):
        split_donors(table, FRACTIONS)


def test_split_refuses_a_seed_that_is_no_whole_number():
    """A negative or broken seed is refused, not turned into another one."""
    for seed in (-1, 0.5):
        with pytest.raises(SplitError, match="seed"):
            split_donors(tabulate_even(), FRACTIONS, seed)


def test_split_images_makes_every_tile_its_own_unit():
    """Without donors, the tiles themselves are split, balanced in every marker."""
    table = tabulate_study().assign(donor="")
    splits = split_images(table, FRACTIONS, seed=3)
    placed = sorted(tile for name in SPLIT_NAMES for tile in splits[name])
    assert sorted(table["tile_id"]) == placed
    assert [[18] * 4, [6] * 4, [6] * 4] == _count(table, splits, "tile_id").tolist()


def test_split_images_refuses_a_tile_twice():
    """A repeated tile id would be on two sides at once."""
    table = tabulate_even(4)
    with pytest.raises(SplitError, match="found twice: d00/GFAP-0"):
        split_images(pd.concat([table, table.iloc[:1]]), FRACTIONS)


def _count(table, splits, unit="donor"):
    """(3, M) tiles of each split and marker."""
    return np.array(
        [
            [
                (table[unit].isin(splits[name]) & (table["marker"] == marker)).sum()
                for marker in sorted(set(table["marker"]))
            ]
            for name in SPLIT_NAMES
        ]
    )
