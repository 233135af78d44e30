"""What every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from somaflow.files import UMASK, take_umask

REPOSITORY = Path(__file__).resolve().parents[1]

# The first call of a numba function compiles it, which takes longer than any deadline.
settings.register_profile("somaflow", deadline=None)
settings.load_profile("somaflow")


# Their tests share a server and a finished study, or a SLURM.
TOGETHER = ("tests/flows/", "tests/infra/", "tests/chaos/", "tests/session/")


class FlowsTogether(LoadScopeScheduling):
    """Of the processes that share the tests, one takes all of a folder of `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FlowsTogether:
    """Deals out the tests of `make test`."""
    return FlowsTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The flows take longest: first, so that no process is done long before the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))


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


@pytest.fixture
def owner_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The umask that somaflow's entry points take, for one test."""
    monkeypatch.delenv(UMASK, raising=False)
    former = os.umask(0o022)
    take_umask()
    yield
    os.umask(former)
