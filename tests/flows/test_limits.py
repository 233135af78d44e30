"""A stage that takes too long is ended, and nothing that depends on it waits for it."""

from pathlib import Path

import pytest
import yaml

from tests.flows.conftest import Run

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]


def test_stage_over_its_limit_is_ended_and_its_dependants_say_why(
    study: Path, somaflow: Run
) -> None:
    """Training for hours under a limit of seconds: listed, saved, and inference fails in words."""
    content = yaml.safe_load(study.read_text())
    settings = {"n_epochs": 100_000, "images_per_epoch": 8, "batch_size": 4, "crop_px": 96}
    content |= {
        "fine_tuning": {"recipes": ["generic"], "settings": settings},
        "inference_recipe": "generic",
        "stage_limit_hours": 0.008,
    }
    study.write_text(yaml.safe_dump(content))
    done = somaflow("run", "study", study)
    assert done.returncode == 1
    words = done.stderr.split("somaflow: ")[-1]
    assert "3 of 4 stages failed" in words
    assert "e1-recipes: TimeoutError: took longer than stage_limit_hours (0.008)" in words
    assert "e5-inference: StudyError: recipe must be one of baseline, got 'generic'" in words
    assert "e5-donors: StudyError: recipe must be one of baseline, got 'generic'" in words
    assert "run the flow that makes it first" in words
    told = somaflow("status", study).stdout
    assert "0 done, 1 not finished" in told
