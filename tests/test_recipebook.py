"""The recipes that experiments made, as files."""

from pathlib import Path

import pytest

from somaflow.errors import StudyError
from somaflow.recipebook import find_recipe, write_recipes
from somaflow.recipes import Gate, Recipe
from somaflow.settings import FineTuning
from somaflow.study import Study


def make_study(folder: Path, **fields: object) -> Study:
    content = {"name": "s", "tiles": {"root": str(folder)}, "output": str(folder / "out")}
    return Study.model_validate(content | {"fine_tuning": FineTuning()} | fields)


def make_hybrid(study: Study) -> Recipe:
    weights = str(study.output / "checkpoints" / "k" / "best.pt")
    own = Recipe(name="GFAP-only", model=weights, gate=Gate(min_area_px=30), channels="marker")
    return Recipe(name="hybrid", model=weights, per_marker={"GFAP": own, "NeuN": Recipe()})


def test_recipe_survives_its_file(tmp_path: Path) -> None:
    """Weights, thresholds, gates and the sets per marker come back as they were."""
    study = make_study(tmp_path)
    hybrid = make_hybrid(study)
    write_recipes(study, [hybrid], "e1-recipes", "key")
    assert hybrid == find_recipe(study, "hybrid", "key")


def test_recipe_moves_with_the_output_folder(tmp_path: Path) -> None:
    """A file from a moved folder names the weights at their new place."""
    study = make_study(tmp_path / "a")
    write_recipes(study, [make_hybrid(study)], "e1-recipes", "key")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "out").rename(tmp_path / "b" / "out")
    moved = find_recipe(make_study(tmp_path / "b"), "hybrid")
    assert str(tmp_path / "b" / "out" / "checkpoints" / "k" / "best.pt") == moved.model
    assert "tiny" == moved.per_marker["NeuN"].model


def test_recipe_made_on_other_tiles_is_refused(tmp_path: Path) -> None:
    """An experiment never goes on with weights that saw other labelled tiles."""
    study = make_study(tmp_path)
    write_recipes(study, [make_hybrid(study)], "e1-recipes", "key")
    with pytest.raises(StudyError, match="made with others by e1-recipes; run it again"):
        find_recipe(study, "hybrid", "other")


def test_recipe_made_by_other_settings_is_refused(tmp_path: Path) -> None:
    """Changed trainings make the former recipes stale; a changed time limit does not."""
    study = make_study(tmp_path)
    write_recipes(study, [make_hybrid(study)], "e1-recipes", "key")
    patient = make_study(tmp_path, fine_tuning=FineTuning(time_limit_minutes=5))
    assert "hybrid" == find_recipe(patient, "hybrid", "key").name
    other = make_study(tmp_path, fine_tuning=FineTuning(seeds=[3]))
    with pytest.raises(StudyError, match="fine_tuning"):
        find_recipe(other, "hybrid", "key")


def test_unknown_recipe_names_those_that_are_known(tmp_path: Path) -> None:
    """A typo is answered with the names there are."""
    study = make_study(tmp_path)
    write_recipes(study, [make_hybrid(study)], "e1-recipes", "key")
    with pytest.raises(StudyError, match="one of baseline, hybrid, got 'hybird'"):
        find_recipe(study, "hybird")


def test_replaced_recipe_is_kept(tmp_path: Path) -> None:
    """Another recipe of the same name does not lose the former one."""
    study = make_study(tmp_path)
    write_recipes(study, [make_hybrid(study)], "e1-recipes", "key")
    write_recipes(study, [Recipe(name="hybrid")], "e1-recipes", "key")
    (former,) = (study.output / "previous").glob("hybrid-*.yaml")
    assert "best.pt" in former.read_text()
