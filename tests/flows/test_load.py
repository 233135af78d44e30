"""The measurement of a server's load asks for what a server has; figures are not judged."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.load.asked import PAGES, await_digested, describe_times, time_pages
from tests.load.runs import STAGES, TASKS_A_STAGE

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]
N_SHARDS = 3


def test_runs_of_a_study_are_made_and_pages_of_them_answered(
    api_url: str, environment: dict[str, str]
) -> None:
    """A study's task runs come to be known, and the server takes every query of every page."""
    command = [sys.executable, "-m", "tests.load.runs", "--studies", "1", "--shards", str(N_SHARDS)]
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, check=True)
    await_digested(api_url, len(STAGES) * TASKS_A_STAGE + N_SHARDS, 120)
    times = describe_times(time_pages(api_url, 2))
    assert set(PAGES) == set(times)
    assert all(0 < one["median_s"] <= one["longest_s"] for one in times.values())
