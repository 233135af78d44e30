"""The hybrid is chosen per marker, on val alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.experiments import choose_hybrid
from somaflow.recipes import Gate, Recipe
from tests.experiments.tables import prepared_tiles, random_counts

TILES = prepared_tiles(
    {
        ("GFAP", "val"): 3, ("IBA1", "val"): 3, ("OLIG2", "val"): 3,
        ("GFAP", "test"): 3, ("IBA1", "test"): 3, ("NeuN", "test"): 2, ("GFAP", "train"): 2,
    }
)  # fmt: skip
NAMES = ["baseline", "generic", "GFAP-only", "two-stage"]
RECIPES = [
    Recipe(name="baseline"),
    Recipe(name="generic", model="/w/generic.pt", gate=Gate(min_area_px=9)),
    Recipe(name="GFAP-only", model="/w/gfap.pt"),
    Recipe(
        name="two-stage",
        model="/w/generic.pt",
        per_marker={"IBA1": Recipe(name="two-stage-IBA1", model="/w/iba1.pt")},
    ),
]


def _f1(counts: pd.DataFrame) -> float:
    tp, fp, fn = counts[["tp", "fp", "fn"]].sum()
    return 2 * tp / (2 * tp + fp + fn)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_hybrid_has_the_best_recipe_of_each_marker(seed: int) -> None:
    """What is chosen, and what comes second, is what sorting F1 on val by hand gives."""
    counts = random_counts(TILES, NAMES, seed)
    hybrid, choices = choose_hybrid(counts, RECIPES)
    val = counts[counts.split == "val"]
    chosen = choices.set_index("marker")

    for marker in ("GFAP", "IBA1", "OLIG2"):
        own = val[val.marker == marker]
        scores = {name: _f1(own[own.recipe == name]) for name in NAMES}
        best, second = sorted(NAMES, key=lambda name: -scores[name])[:2]
        row = chosen.loc[marker]
        assert (best, second) == (row.recipe, row.runner_up)
        assert scores[best] == pytest.approx(row.val_f1_pooled)
        assert scores[second] == pytest.approx(row.runner_up_val_f1_pooled)
        recipe = RECIPES[NAMES.index(best)]
        expected = recipe.for_marker(marker).model_copy(update={"name": "hybrid"})
        assert expected == hybrid.for_marker(marker)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_hybrid_does_not_see_test_or_train(seed: int, random: object) -> None:
    """Whatever the counts outside val, and in whatever order rows come, the choice is the same."""
    counts = random_counts(TILES, NAMES, seed)
    outside = counts.split != "val"
    other = counts.copy()
    other.loc[outside, ["tp", "fp", "fn"]] = np.random.default_rng(seed).integers(
        0, 50, size=(outside.sum(), 3)
    )
    order = list(range(len(counts)))
    random.shuffle(order)  # type: ignore[attr-defined]

    expected, actual = choose_hybrid(counts, RECIPES), choose_hybrid(other.iloc[order], RECIPES)
    assert expected[0] == actual[0]
    pd.testing.assert_frame_equal(expected[1], actual[1])


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]])
def test_hybrid_takes_the_earlier_of_equal_recipes(order: list[str]) -> None:
    """A recipe that is no better than the baseline does not replace it."""
    counts = random_counts(TILES, ["baseline"])
    counts = pd.concat([counts.assign(recipe=name) for name in NAMES])
    recipes = [RECIPES[NAMES.index(name)] for name in order]

    choices = choose_hybrid(counts, recipes)[1]
    assert set(choices.recipe) == {order[0]}
    assert set(choices.runner_up) == {order[1], ""}


def test_hybrid_uses_the_best_overall_where_a_marker_has_no_val_tile() -> None:
    """NeuN is in test alone: its set is that of the best recipe over all val tiles, and it says so.

    The best recipe here has a set of its own for IBA1, which is not handed to NeuN.
    """
    counts = random_counts(TILES, NAMES)
    counts.loc[counts.recipe == "two-stage", ["fp", "fn"]] = 0
    hybrid, choices = choose_hybrid(counts, RECIPES)
    chosen = choices.set_index("marker")

    assert ["all", "GFAP", "IBA1", "NeuN", "OLIG2"] == list(chosen.index)
    assert ("two-stage", 0) == (chosen.recipe["NeuN"], chosen.n_val_tiles["NeuN"])
    assert "no val tiles of this marker" in chosen.reason["NeuN"]
    assert np.isnan(chosen.val_f1_pooled["NeuN"])
    assert hybrid.for_marker("NeuN").model == "/w/generic.pt"
    assert hybrid.for_marker("PECAM").model == "/w/generic.pt"
    assert hybrid.for_marker("IBA1").model == "/w/iba1.pt"
    assert 9 == chosen.n_val_tiles["all"]


def test_hybrid_of_one_recipe_is_that_recipe() -> None:
    """There is no runner-up, and nothing to refuse."""
    hybrid, choices = choose_hybrid(random_counts(TILES, NAMES), RECIPES[:1], name="only")

    assert hybrid.name == "only"
    assert set(choices.recipe) == {"baseline"}
    assert set(choices.runner_up) == {""}


def test_hybrid_refuses_recipes_scored_on_other_val_tiles() -> None:
    """A recipe that skipped a hard tile would look better than it is."""
    counts = random_counts(TILES, NAMES)
    lacking = counts[(counts.recipe != "generic") | (counts.tile_id != "GFAP-val-01")]

    with pytest.raises(ScoringError, match="baseline has 9 rows and generic not the same"):
        choose_hybrid(lacking, RECIPES)
    with pytest.raises(ScoringError, match="same val tiles"):
        choose_hybrid(counts[counts.split == "test"], RECIPES)
    with pytest.raises(ScoringError, match="got none"):
        choose_hybrid(counts, [])
