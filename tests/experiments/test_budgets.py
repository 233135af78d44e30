"""Which tiles each run of the label-budget curve trains on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.errors import StudyError
from somaflow.experiments import plan_budgets
from somaflow.settings import LabelBudgets
from tests.experiments.tables import prepared_tiles

MARKERS = ["GFAP", "IBA1", "NeuN", "OLIG2"]
STUDY = prepared_tiles(
    {(marker, split): n for marker, n in zip(MARKERS, (17, 18, 19, 18), strict=True)
     for split, n in (("train", n), ("val", 6), ("test", 6))}
)  # fmt: skip


@st.composite
def budget_plans(draw: st.DrawFn) -> tuple[LabelBudgets, dict[tuple[str, str], int], int]:
    """Any budgets and repeats, any number of tiles a marker, a seed."""
    budgets = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5, unique=True))
    settings = LabelBudgets(budgets=budgets, repeats=draw(st.integers(1, 3)))
    numbers = draw(st.dictionaries(st.sampled_from(MARKERS), st.integers(1, 9), min_size=1))
    tiles = {(marker, "train"): n for marker, n in numbers.items()}
    return settings, {**tiles, ("GFAP", "test"): 3}, draw(st.integers(0, 99))


@given(budget_plans())
def test_budgets_are_nested_and_full(
    plan: tuple[LabelBudgets, dict[tuple[str, str], int], int],
) -> None:
    """A smaller budget is part of a larger one; each marker gives the budget or all it has."""
    settings, tiles, seed = plan
    runs = plan_budgets(settings, prepared_tiles(tiles), seed)

    assert [(run.repeat, run.budget) for run in runs] == [
        (repeat, budget) for repeat in range(settings.repeats) for budget in settings.budgets
    ]
    for run in runs:
        has = {marker: n for (marker, split), n in tiles.items() if split == "train"}
        assert run.n_per_marker == {marker: min(run.budget, n) for marker, n in has.items()}
        assert run.capped == tuple(sorted(m for m, n in has.items() if n < run.budget))
        assert len(set(run.train_ids)) == len(run.train_ids) == sum(run.n_per_marker.values())
        assert all("-train-" in tile for tile in run.train_ids)
        smaller = [r for r in runs if r.repeat == run.repeat and r.budget < run.budget]
        assert all(set(r.train_ids) <= set(run.train_ids) for r in smaller)
        same = [r.budget for r in smaller if r.train_ids == run.train_ids]
        assert run.same_as == (min(same) if same else None)


@given(budget_plans(), st.randoms(use_true_random=False))
def test_budgets_of_a_marker_do_not_depend_on_anything_else(
    plan: tuple[LabelBudgets, dict[tuple[str, str], int], int], random: object
) -> None:
    """Another order of rows, other markers, budgets and repeats leave a marker's draws alone."""
    settings, tiles, seed = plan
    prepared = prepared_tiles(tiles)
    order = list(range(len(prepared)))
    random.shuffle(order)  # type: ignore[attr-defined]
    marker = next(iter(tiles))[0]
    alone = prepared.iloc[order]
    alone = alone[alone.marker == marker]
    more = LabelBudgets(budgets=[*settings.budgets, 40], repeats=settings.repeats + 1)

    found = {(run.repeat, run.budget): run for run in plan_budgets(more, alone, seed)}
    for run in plan_budgets(settings, prepared, seed):
        expected = tuple(tile for tile in run.train_ids if tile.startswith(marker))
        assert expected == found[run.repeat, run.budget].train_ids


def test_budgets_of_the_study_run_what_is_saturated_once() -> None:
    """17 to 19 tiles a marker: 20 is capped for all, and 30 is the same run again."""
    runs = plan_budgets(LabelBudgets(), STUDY, seed=0)
    last = {run.budget: run for run in runs if run.repeat == 4}

    assert 25 == len(runs)
    assert 20 == sum(run.same_as is None for run in runs)
    assert (None, 20) == (last[20].same_as, last[30].same_as)
    assert ((), tuple(MARKERS)) == (last[10].capped, last[20].capped)
    assert {"GFAP": 17, "IBA1": 18, "NeuN": 19, "OLIG2": 18} == last[30].n_per_marker
    assert "budget-30-repeat-4" == last[30].name


def test_budgets_differ_between_repeats_and_seeds() -> None:
    """Repeats are draws of their own, and the seed moves them all."""
    settings = LabelBudgets(budgets=[5], repeats=5)
    draws = [run.train_ids for seed in (0, 1) for run in plan_budgets(settings, STUDY, seed)]

    assert 10 == len(set(draws))
    assert draws[:5] == [run.train_ids for run in plan_budgets(settings, STUDY, 0)]


def test_budgets_draw_every_tile_about_equally_often() -> None:
    """No tile is favoured: over 100 repeats of 5 of 17 each is drawn about 29 times."""
    runs = plan_budgets(LabelBudgets(budgets=[5], repeats=100), STUDY, seed=0)
    drawn = [sum(f"GFAP-train-{i:02d}" in run.train_ids for run in runs) for i in range(17)]

    assert 500 == sum(drawn)
    assert 12 < min(drawn) < max(drawn) < 48


def test_budgets_refuse_a_study_without_training_tiles() -> None:
    """There is nothing to draw from."""
    with pytest.raises(StudyError, match="found none among 3 prepared tiles"):
        plan_budgets(LabelBudgets(), prepared_tiles({("GFAP", "test"): 3}), seed=0)
