"""One segmented set of tiles for all tests of the export."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from somaflow.paths import RunPaths
from tests.export.inferred import write_segmented


class Segmented(NamedTuple):
    """An inference, and a folder to export to."""

    paths: RunPaths
    tiles: pd.DataFrame
    key: str
    target: Path


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPaths, pd.DataFrame, str]:
    """Not to be written to."""
    return write_segmented(tmp_path_factory.mktemp("export"))


@pytest.fixture
def segmented(shared: tuple[RunPaths, pd.DataFrame, str], tmp_path: Path) -> Segmented:
    """For tests that only read it."""
    return Segmented(*shared, tmp_path / "export")


@pytest.fixture
def own(shared: tuple[RunPaths, pd.DataFrame, str], tmp_path: Path) -> Iterator[Segmented]:
    """A copy of the inference, for tests that change it; the tiles are still shared."""
    paths, tiles, key = shared
    shutil.copytree(paths.output, tmp_path / "output")
    yield Segmented(RunPaths(tmp_path / "output"), tiles, key, tmp_path / "export")
