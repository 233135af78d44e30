"""Why a marker does badly, in numbers and in words."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import ScoringError
from somaflow.experiments.diagnosis import (
    BELOW_CELLPROB,
    BY_FLOW,
    BY_GATE,
    BY_SIZE,
    CAUSES,
    FOUND,
    IN_PART,
    MERGED,
    OUTLINE,
    diagnose_marker,
    worst_marker,
)
from somaflow.figures import draw_diagnosis
from somaflow.recipes import Gate, Recipe
from tests.experiments.fates import Fates, grid_scores, val_scores
from tests.figures.tables import has_clear_margin, open_png

GENERIC = Recipe(name="generic")
SCORES = val_scores(
    {
        ("baseline", "OLIG2"): 0.3,
        ("generic", "OLIG2"): 0.4,
        ("two-stage", "OLIG2"): 0.7,
        ("baseline", "GFAP"): 0.5,
        ("generic", "GFAP"): 0.8,
    }
)
ALONE = {
    "found": lambda fates, n: fates.found(n),
    "below": lambda fates, n: fates.below(n),
    "part": lambda fates, n: fates.in_part(n),
    "flow": lambda fates, n: fates.removed(n, "flow"),
    "size": lambda fates, n: fates.removed(n, "size"),
    "outline": lambda fates, n: fates.outlined_badly(n),
    "merged": lambda fates, n: fates.merged(n),
}


def diagnose(fates, recipe=GENERIC, pooled=None, scores=SCORES):
    pooled = grid_scores() if pooled is None else pooled
    return diagnose_marker("OLIG2", recipe, **fates.tables(), pooled=pooled, scores=scores)


@pytest.mark.parametrize(
    ("name", "cause", "words"),
    [
        ("below", BELOW_CELLPROB, "never proposed"),
        ("part", IN_PART, "in part only"),
        ("flow", BY_FLOW, "removed by the flow check (flow error above 0.4)"),
        ("size", BY_SIZE, "smaller than 15 px"),
        ("outline", OUTLINE, "outlined too badly"),
        ("merged", MERGED, "merged with a neighbour"),
    ],
)
def test_diagnosis_names_the_one_cause(name, cause, words):
    """Where all lost cells share a cause, it alone is counted, and named first in the words."""
    diagnosis = diagnose(ALONE[name](Fates().found(2), 5))
    assert cause == diagnosis.main_cause
    assert diagnosis.n_reference - 2 == diagnosis.causes[cause]
    assert {cause} == {name for name in CAUSES if diagnosis.causes[name]}
    assert words in diagnosis.markdown().split("####")[0]


def test_diagnosis_of_a_perfect_marker_names_no_loss():
    """With every cell found, nothing is said to be lost."""
    diagnosis = diagnose(Fates().found(4))
    assert FOUND == diagnosis.main_cause
    assert "4 of 4 reference cells are found (100 %)" in diagnosis.markdown()
    assert "No reference cell is lost" in diagnosis.markdown()


@settings(max_examples=25)
@given(st.fixed_dictionaries({name: st.integers(0, 4) for name in ALONE}), st.integers(0, 3))
def test_diagnosis_adds_up(numbers, n_wrong):
    """Whatever happens to the cells, found and lost ones together are all of them, each once."""
    fates = Fates().found(1).wrong(n_wrong)
    for name, number in numbers.items():
        ALONE[name](fates, number)
    diagnosis = diagnose(fates)
    expected = {
        FOUND: 1 + numbers["found"],
        BELOW_CELLPROB: numbers["below"],
        IN_PART: numbers["part"],
        BY_FLOW: numbers["flow"],
        BY_SIZE: numbers["size"],
        MERGED: 2 * numbers["merged"],
        OUTLINE: numbers["outline"],
        BY_GATE: 0,
    }
    assert expected == diagnosis.causes
    assert len(fates.cells) == diagnosis.n_reference == sum(diagnosis.causes.values())
    n_kept = (
        1 + n_wrong + numbers["found"] + numbers["outline"] + numbers["merged"] + numbers["part"]
    )
    assert n_kept == diagnosis.n_predicted


def test_diagnosis_counts_tile_by_tile():
    """An object removed in one tile explains no loss in another."""
    fates = Fates().removed(2, "flow", "one").outlined_badly(3, "two").found(1, "two")
    diagnosis = diagnose(fates)
    assert 2 == diagnosis.causes[BY_FLOW]
    assert 3 == diagnosis.causes[OUTLINE]


def test_diagnosis_counts_what_the_gate_took():
    """Cells that the segmentation found and the score did not, were removed by the gate."""
    fates = Fates().found(5).below(1)
    tables = fates.tables()
    tables["per_tile"]["tp"] = 3
    gated = GENERIC.model_copy(update={"gate": Gate(min_area_px=200)})
    diagnosis = diagnose_marker("OLIG2", gated, **tables, pooled=grid_scores(), scores=SCORES)
    assert (3, 2, 1) == tuple(diagnosis.causes[name] for name in (FOUND, BY_GATE, BELOW_CELLPROB))
    assert "removed by the gate" in diagnosis.markdown()


def test_diagnosis_uses_the_set_of_its_marker():
    """A hybrid's own thresholds for the marker decide what counts as never proposed."""
    own = Recipe(name="other", cellprob_threshold=-2.0)
    hybrid = GENERIC.model_copy(update={"per_marker": {"OLIG2": own}})
    diagnosis = diagnose(Fates().found(1).below(3), recipe=hybrid)
    assert 0 == diagnosis.causes[BELOW_CELLPROB]
    assert "threshold is -2" in diagnosis.markdown()


def test_diagnosis_finds_the_most_helpful_single_change():
    """Of the grid's neighbours of the recipe's setting, the one with the best F1 comes first."""
    pooled = grid_scores()
    diagnosis = diagnose(Fates().found(1).below(3), pooled=pooled)
    own = pooled[(pooled["marker"] == "OLIG2") & (pooled["min_size_px"] == 15)]
    single = own[(own["cellprob_threshold"] == 0) | (own["flow_threshold"] == 0.4)]
    best = diagnosis.changes[0]
    assert ("cellprob_threshold", 0.0, -2.0) == (best.threshold, best.now, best.then)
    assert single["f1_pooled"].max() == best.f1_then
    gains = [change.gain for change in diagnosis.changes]
    assert gains == sorted(gains, reverse=True)
    assert own["f1_pooled"].max() == diagnosis.best_setting["f1_pooled"]
    assert f"{best.gain:+.3f}" in diagnosis.markdown()


def test_diagnosis_without_a_better_threshold_says_so():
    """A flat grid and an empty one name no change."""
    fates = Fates().found(1).below(3)
    flat = grid_scores().assign(f1_pooled=0.5)
    for pooled in (flat, flat.iloc[:0]):
        diagnosis = diagnose(fates, pooled=pooled)
        assert () == diagnosis.changes
        assert "No other value of a single threshold" in diagnosis.markdown()


def test_diagnosis_ranks_recipes_on_val_alone():
    """The best recipe is the one with the best F1 on val; better test rows are not looked at."""
    test = val_scores({("baseline", "OLIG2"): 0.99}).assign(split="test")
    diagnosis = diagnose(Fates().below(2), scores=pd.concat([SCORES, test], ignore_index=True))
    assert ["two-stage", "generic", "baseline"] == list(diagnosis.recipes["recipe"])
    words = diagnosis.markdown()
    assert "two-stage does best: F1 0.700 [0.650, 0.750], +0.400 [+0.350, +0.450]" in words
    assert "leaves out 0" in words
    assert "0.990" not in words


def test_diagnosis_says_how_sizes_differ():
    """Objects of half the reference's area are called 50 % smaller."""
    fates = Fates().found(3)
    for row in fates.objects:
        row["area_px"] = 50
    assert "50 % smaller" in diagnose(fates).markdown()
    assert "none" in diagnose(Fates().below(3)).markdown()


def test_diagnosis_leaves_other_markers_and_recipes_out():
    """Tables of all markers and recipes give the same diagnosis as those of one."""
    fates = Fates().found(2).below(3).removed(1, "flow")
    alone = diagnose(fates)
    mixed = {}
    for name, table in fates.tables().items():
        own = table.assign(marker="OLIG2", recipe="generic", split="val")
        others = [own.assign(marker="GFAP"), own.assign(recipe="x"), own.assign(split="test")]
        mixed[name] = pd.concat([own, *others], ignore_index=True)
    together = diagnose_marker("OLIG2", GENERIC, **mixed, pooled=grid_scores(), scores=SCORES)
    assert alone.causes == together.causes
    assert alone.markdown() == together.markdown()


def test_diagnosis_lists_tiles_and_those_without_predictions():
    """Every tile is counted, up to twelve are listed, and empty ones are named."""
    fates = Fates()
    for place in range(14):
        fates.below(2, f"tile_{place:02d}")
    words = diagnose(fates).markdown()
    assert "14 tiles: too few cells in 14, too many in 0; in 14 nothing is predicted" in words
    assert "| tile_11 | 2 | 0 | 0 |" in words
    assert "tile_12" not in words
    assert "2 more tiles" in words


def test_diagnosis_refuses_tables_of_other_tiles():
    """A tile whose cells are missing is named, and a marker without tiles refused."""
    tables = Fates().found(2, "one").found(2, "two").tables()
    tables["reference_cells"] = tables["reference_cells"].iloc[:3]
    with pytest.raises(ScoringError, match="differ in two"):
        diagnose_marker("OLIG2", GENERIC, **tables, pooled=grid_scores(), scores=SCORES)
    tables["per_tile"] = tables["per_tile"].assign(marker="GFAP")
    with pytest.raises(ScoringError, match="0 tiles of OLIG2"):
        diagnose_marker("OLIG2", GENERIC, **tables, pooled=grid_scores(), scores=SCORES)


def test_worst_marker_has_the_lowest_f1_on_val():
    """The mean over recipes decides, or one recipe; test rows and the overall row do not."""
    scores = val_scores(
        {("a", "all"): 0.0, ("a", "GFAP"): 0.5, ("a", "OLIG2"): 0.6, ("b", "GFAP"): 0.9,
         ("b", "OLIG2"): 0.2}
    )  # fmt: skip
    test = scores.assign(split="test", f1_pooled=np.where(scores["marker"] == "GFAP", 0.0, 1.0))
    both = pd.concat([scores, test], ignore_index=True)
    assert "OLIG2" == worst_marker(both)
    assert "GFAP" == worst_marker(both, recipe="a")
    assert "GFAP" == worst_marker(test)
    with pytest.raises(ScoringError, match="at least one marker"):
        worst_marker(scores, recipe="c")


def draw(fates, recipe=GENERIC, pooled=None):
    pooled = grid_scores() if pooled is None else pooled
    return draw_diagnosis("OLIG2", recipe, **fates.tables(), pooled=pooled)


def test_diagnosis_picture_is_drawn_alike_from_equal_tables():
    """Equal tables give equal bytes of one size, uncut, and other fates give others."""
    fates = Fates().found(3).below(4).removed(2, "flow", "two").wrong(2)
    picture = draw(fates)
    assert picture == draw(fates)
    assert (980, 1300) == open_png(picture).shape[:2]
    assert has_clear_margin(picture)
    assert picture != draw(Fates().found(9))


def test_diagnosis_picture_of_empty_predictions_is_drawn():
    """Nothing predicted, nothing swept and no min size leave a picture of the same size."""
    recipe = GENERIC.model_copy(update={"min_size_px": 0, "flow_threshold": 0.0})
    picture = draw(Fates().below(3), recipe, grid_scores().iloc[:0])
    assert (980, 1300) == open_png(picture).shape[:2]


def test_diagnosis_picture_of_no_tiles_is_refused():
    """A marker without tiles is refused by its name."""
    tables = Fates().found(1).tables()
    tables["per_tile"] = tables["per_tile"].assign(marker="GFAP")
    with pytest.raises(ScoringError, match="tiles of OLIG2"):
        draw_diagnosis("OLIG2", GENERIC, **tables, pooled=grid_scores())
