"""A study file is read whole, with every problem at once."""

from pathlib import Path

import pytest
import yaml

from somaflow.errors import StudyError
from somaflow.study import Study, dump_study, load_study
from somaflow.template import write_template


def write(folder: Path, **fields: object) -> Path:
    content = {"name": "s", "tiles": {"root": "tiles"}, "output": "out", **fields}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_paths_start_at_the_study_file(tmp_path: Path) -> None:
    """Relative paths are relative to the file that names them, wherever it is read from."""
    path = write(
        tmp_path,
        labelled={"root": "lab", "layout": "flat", "donor_table": "lab/d.csv"},
        recipes=[{"name": "baseline"}, {"name": "mine", "model": "models/best.pt"}],
    )
    study = load_study(path)
    assert tmp_path / "tiles" == study.tiles.root
    assert tmp_path / "out" == study.output
    assert study.labelled is not None
    assert tmp_path / "lab" / "d.csv" == study.labelled.donor_table
    assert ["tiny", str(tmp_path / "models" / "best.pt")] == [r.model for r in study.recipes]


def test_every_problem_of_a_study_is_listed(tmp_path: Path) -> None:
    """Unknown fields, wrong words and values out of range come in one message, a line each."""
    path = write(tmp_path, shard_tiles=0, devise="cpu", splits={"train": 0.9})
    with pytest.raises(StudyError) as caught:
        load_study(path)
    message = str(caught.value)
    assert "3 value(s) must be changed" in message
    assert "shard_tiles: Input should be greater than or equal to 1, got 0" in message
    assert "devise: Extra inputs are not permitted, got 'cpu'" in message
    assert "train + val + test must be 1, got 1.3" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tiles: [", "study must be a YAML file"),
        ("- a\n- b", "study must be a YAML mapping"),
        ("", "study must be a YAML mapping"),
    ],
)
def test_file_that_is_no_study_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """Broken YAML and YAML of another kind are one clear error."""
    path = tmp_path / "study.yaml"
    path.write_text(content)
    with pytest.raises(StudyError, match=message):
        load_study(path)


def test_missing_study_says_how_to_get_one(tmp_path: Path) -> None:
    """A path with no file names the command that writes one."""
    with pytest.raises(StudyError, match="`somaflow init DIR` writes one"):
        load_study(tmp_path / "nowhere.yaml")


def test_study_as_run_reads_back_equal(tmp_path: Path) -> None:
    """The copy in the output folder, defaults filled in, is the same study."""
    study = load_study(write(tmp_path))
    (tmp_path / "again.yaml").write_text(dump_study(study))
    assert study == load_study(tmp_path / "again.yaml")


def test_deployment_may_name_the_study_file(tmp_path: Path) -> None:
    """A flow parameter that is a path is read as the study it names."""
    path = write(tmp_path)
    assert load_study(path) == Study.model_validate(str(path))


def test_unknown_inference_recipe_is_refused(tmp_path: Path) -> None:
    """The recipe for inference must be one of the study's."""
    with pytest.raises(StudyError, match="must be one of baseline, or one that is made from it"):
        load_study(write(tmp_path, inference_recipe="hybrid"))


@pytest.mark.parametrize("name", ["hybrid", "generic-gated", "GFAP-only", "generic-seed1-precise"])
def test_recipe_that_an_experiment_makes_may_segment_all(tmp_path: Path, name: str) -> None:
    """The inference recipe may be one that does not exist yet, if the study makes it."""
    study = write(tmp_path, fine_tuning={"seeds": [0, 1]}, inference_recipe=name)
    assert name == load_study(study).inference_recipe


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"fine_tuning": {}, "inference_recipe": "hybird"}, "got 'hybird'"),
        ({"fine_tuning": {"recipes": ["generic"]}, "inference_recipe": "GFAP-only"}, "GFAP-only"),
        ({"fine_tuning": {"base": "mine"}}, "fine_tuning.base must be one of the recipes"),
        ({"fine_tuning": {"recipes": ["generik"]}}, "different ones of generic, per-marker"),
        ({"fine_tuning": {"seeds": [1, 1]}}, "different numbers"),
        ({"recipes": [{"name": "baseline"}, {"name": "hybrid"}], "fine_tuning": {}}, "hybrid"),
        ({"label_budgets": {}}, "label_budgets needs fine_tuning"),
        ({"fine_tuning": {}, "label_budgets": {"budgets": [0, 2]}}, "at least 1"),
        ({"gating": {"recipes": ["generic"]}}, "got 'generic'"),
    ],
)
def test_experiments_that_cannot_be_run_are_refused(
    tmp_path: Path, fields: dict[str, object], problem: str
) -> None:
    """A typo costs a second when the study is read, not a night of training."""
    with pytest.raises(StudyError, match=problem):
        load_study(write(tmp_path, **fields))


def test_template_is_a_valid_study_and_never_overwrites(tmp_path: Path) -> None:
    """What `somaflow init` writes loads as it is, and a second init leaves it alone."""
    path = write_template(tmp_path)
    assert "my-study" == load_study(path).name
    with pytest.raises(StudyError, match="init must not overwrite a study"):
        write_template(tmp_path)


def test_every_field_has_a_help_text() -> None:
    """The dashboard's form explains each field."""
    schema = Study.model_json_schema()
    objects = [schema, *schema["$defs"].values()]
    unexplained = [
        f"{item['title']}.{name}"
        for item in objects
        for name, field in item["properties"].items()
        if "description" not in field
    ]
    assert [] == unexplained
