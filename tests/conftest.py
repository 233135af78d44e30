"""What every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# The first call of a numba function compiles it, which takes longer than any deadline.
settings.register_profile("somaflow", deadline=None)
settings.load_profile("somaflow")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images with human labels; not part of the project, so tests on them can be skipped.

    The folder holds `real-dev` and `awkward`; SOMAFLOW_TEST_DATA names it, or it lies beside the
    checkout as `shared/data`.
    """
    folder = Path(os.environ.get("SOMAFLOW_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real images are not at {folder}; set SOMAFLOW_TEST_DATA to run these tests")
    return folder
