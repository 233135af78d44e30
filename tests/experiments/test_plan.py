"""Which trainings are planned, on which tiles, and which recipes come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.errors import StudyError
from somaflow.experiments import (
    PlannedTraining,
    compose_recipes,
    plan_trainings,
    scored_recipes,
    training_tiles,
)
from somaflow.recipes import Gate, Recipe, TrainingSettings
from somaflow.settings import PRESETS, FineTuning
from tests.experiments.tables import prepared_tiles

PREPARED = prepared_tiles(
    {
        ("GFAP", "train"): 4, ("OLIG2", "train"): 3, ("NeuN", "test"): 2,
        ("GFAP", "val"): 2, ("GFAP", "test"): 2, ("OLIG2", "test"): 1,
    }
)  # fmt: skip
BASE = Recipe(name="stock", model="tiny", cellprob_threshold=-1, gate=Gate(min_area_px=20))


def _weights(planned: list[PlannedTraining]) -> dict[str, tuple[str, str]]:
    return {plan.name: (f"/weights/{plan.name}.pt", f"{i:064x}") for i, plan in enumerate(planned)}


def test_plan_expands_recipes_over_the_markers_that_have_training_tiles() -> None:
    """Every preset becomes its trainings, in the order asked for; NeuN has none to train on."""
    expected = [
        "generic", "GFAP-only", "OLIG2-only", "without-dapi", "balanced",
        "two-stage-GFAP", "two-stage-OLIG2",
    ]  # fmt: skip
    planned = plan_trainings(FineTuning(), PREPARED)

    assert expected == [plan.name for plan in planned]
    assert expected == [plan.recipe for plan in planned]


def test_plan_names_every_seed_but_the_first() -> None:
    """The first seed's trainings have plain names; starts are of the same seed."""
    planned = plan_trainings(FineTuning(recipes=["two-stage"], seeds=[7, 0]), PREPARED)
    start_of = {plan.name: (plan.seed, plan.settings.seed, plan.start) for plan in planned}

    assert start_of == {
        "generic": (7, 7, None),
        "two-stage-GFAP": (7, 7, "generic"),
        "two-stage-OLIG2": (7, 7, "generic"),
        "generic-seed0": (0, 0, None),
        "two-stage-GFAP-seed0": (0, 0, "generic-seed0"),
        "two-stage-OLIG2-seed0": (0, 0, "generic-seed0"),
    }


@given(
    st.lists(st.sampled_from([*PRESETS, "GFAP-only"]), min_size=1, unique=True),
    st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
    st.none() | st.integers(1, 30),
)
def test_plan_is_in_order_once_each_and_of_equal_length(
    recipes: list[str], seeds: list[int], images_per_epoch: int | None
) -> None:
    """Starts come first, names differ, and every training takes the same number of steps."""
    settings = TrainingSettings(images_per_epoch=images_per_epoch, n_epochs=3)
    planned = plan_trainings(FineTuning(recipes=recipes, seeds=seeds, settings=settings), PREPARED)
    names = [plan.name for plan in planned]

    assert len(names) == len(set(names))
    for place, plan in enumerate(planned):
        assert plan.start is None or plan.start in names[:place]
        assert plan.settings.images_per_epoch == (images_per_epoch or 7)
        assert plan.settings.n_epochs == 3


def test_plan_changes_one_setting_each() -> None:
    """without-dapi blanks DAPI, balanced samples evenly, the others leave the settings alone."""
    settings = TrainingSettings(images_per_epoch=5)
    planned = {p.name: p.settings for p in plan_trainings(FineTuning(settings=settings), PREPARED)}

    assert planned.pop("without-dapi") == settings.model_copy(update={"channels": "marker"})
    assert planned.pop("balanced") == settings.model_copy(update={"sampling": "balanced"})
    assert set(planned) == {"generic", "GFAP-only", "OLIG2-only", *(
        "two-stage-GFAP", "two-stage-OLIG2")}  # fmt: skip
    assert all(settings == other for other in planned.values())


def test_plan_refuses_a_marker_without_training_tiles() -> None:
    """The error names what was asked for and which markers could be."""
    tuning = FineTuning(recipes=["generic", "NeuN-only", "GFAP-only"])

    with pytest.raises(StudyError, match=r"training tiles \(GFAP, OLIG2\), got NeuN-only;"):
        plan_trainings(tuning, PREPARED)


def test_plan_refuses_a_study_without_training_tiles() -> None:
    """Nothing can be trained on val and test."""
    with pytest.raises(StudyError, match="found none among 2 prepared tiles"):
        plan_trainings(FineTuning(), prepared_tiles({("GFAP", "val"): 2}))


def test_training_tiles_are_of_its_markers_and_splits() -> None:
    """GFAP-only sees GFAP alone, generic sees all; neither sees a test tile."""
    planned = {plan.name: plan for plan in plan_trainings(FineTuning(), PREPARED)}
    own, everything = (training_tiles(planned[name], PREPARED) for name in ("GFAP-only", "generic"))

    assert own.train_ids == tuple(f"GFAP-train-0{i}" for i in range(4))
    assert own.val_ids == ("GFAP-val-00", "GFAP-val-01")
    assert len(everything.train_ids) == 7
    assert (own.note, everything.note) == ("", "")


def test_training_tiles_say_when_the_epoch_is_chosen_on_other_markers() -> None:
    """OLIG2 has no val tile: those of all markers stand in, and the note says so."""
    planned = {plan.name: plan for plan in plan_trainings(FineTuning(), PREPARED)}
    tiles = training_tiles(planned["two-stage-OLIG2"], PREPARED)

    assert tiles.val_ids == ("GFAP-val-00", "GFAP-val-01")
    assert "two-stage-OLIG2: no val tile of OLIG2" in tiles.note


def test_training_tiles_refuse_a_study_without_val() -> None:
    """The best epoch cannot be chosen on nothing."""
    prepared = prepared_tiles({("GFAP", "train"): 3, ("GFAP", "test"): 1})
    planned = plan_trainings(FineTuning(), prepared)[0]

    with pytest.raises(StudyError, match="found 3 and 0"):
        training_tiles(planned, prepared)


def test_compose_puts_the_second_stages_together() -> None:
    """Two stages are one recipe: own weights a marker, generic ones for any other."""
    planned = plan_trainings(FineTuning(recipes=["two-stage", "without-dapi"]), PREPARED)
    trained = _weights(planned)
    recipes = {recipe.name: recipe for recipe in compose_recipes(planned, trained, BASE)}
    two_stage = recipes["two-stage"]

    assert list(recipes) == ["generic", "two-stage", "without-dapi"]
    assert two_stage.for_marker("OLIG2").model == "/weights/two-stage-OLIG2.pt"
    assert two_stage.for_marker("NeuN").model == "/weights/generic.pt"
    assert recipes["without-dapi"].channels == "marker"
    assert recipes["generic"].model_sha256 == trained["generic"][1]


def test_compose_keeps_the_thresholds_and_gate_of_the_base() -> None:
    """Recipes differ from the base in their weights alone."""
    planned = plan_trainings(FineTuning(recipes=["generic"]), PREPARED)
    recipe = compose_recipes(planned, _weights(planned), BASE)[0]
    changes = {"name": "stock", "model": "tiny", "model_sha256": None}

    assert BASE == recipe.model_copy(update=changes)


def test_compose_leaves_out_what_is_not_trained() -> None:
    """Two stages without one of their trainings would pass the generic weights for their own."""
    planned = plan_trainings(FineTuning(recipes=["two-stage", "balanced"], seeds=[0, 1]), PREPARED)
    trained = _weights(planned)
    del trained["two-stage-OLIG2"], trained["balanced-seed1"]

    actual = [recipe.name for recipe in compose_recipes(planned, trained, BASE)]
    assert actual == ["generic", "balanced", "generic-seed1", "two-stage-seed1"]


def test_compose_refuses_a_base_with_a_set_per_marker() -> None:
    """A hybrid has no one set of weights to start from."""
    base = Recipe(per_marker={"GFAP": Recipe()})

    with pytest.raises(StudyError, match="has sets for GFAP"):
        compose_recipes([], {}, base)


def test_scored_recipes_names_what_compose_makes() -> None:
    """Both give the same names in the same order, with the recipe and seed of each."""
    planned = plan_trainings(FineTuning(seeds=[0, 3]), PREPARED)
    scored = scored_recipes(planned)
    made = compose_recipes(planned, _weights(planned), BASE)

    assert list(scored) == [recipe.name for recipe in made]
    assert scored["two-stage-seed3"] == ("two-stage", 3)
    assert scored["GFAP-only"] == ("GFAP-only", 0)
