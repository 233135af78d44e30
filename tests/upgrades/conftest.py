"""The study of each former release, unpacked."""

from pathlib import Path

import pytest

from somaflow.study import Study, load_study
from tests.upgrades.files import RELEASES, unpack


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    """Folder in which the study of a former release is kept."""
    return request.param


@pytest.fixture
def study(release: Path, tmp_path: Path) -> Study:
    """That study, at another place than it was made; one's own to write to."""
    return load_study(unpack(release, tmp_path))
