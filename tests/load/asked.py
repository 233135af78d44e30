"""What the dashboard asks a server for, and how soon it is answered."""

import statistics
import time
from typing import Any

import httpx

PAGES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "runs": (
        ("flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 50}),
        ("flow_runs/count", {}),
        ("task_runs/count", {}),
        ("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["FAILED", "CRASHED"]}}}}),
    ),
    "deployments": (
        ("deployments/filter", {"limit": 50}),
        ("flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 20}),
    ),
    "artifacts": (
        ("artifacts/latest/filter", {"limit": 50}),
        ("artifacts/latest/count", {}),
    ),
    "events": (("events/count-by/day", {"filter": {}}),),
}
"""By name of the page, the queries it makes when it is opened, in turn here."""


def time_pages(api_url: str, n_times: int) -> dict[str, list[float]]:
    """Seconds until all queries of a page were answered, `n_times` a page.

    Raises:
        httpx.HTTPStatusError: if the server refuses one.
    """
    taken: dict[str, list[float]] = {name: [] for name in PAGES}
    with httpx.Client(base_url=f"{api_url}/", timeout=60) as client:
        for _ in range(n_times):
            for name, queries in PAGES.items():
                begun = time.monotonic()
                for path, body in queries:
                    client.post(path, json=body).raise_for_status()
                taken[name].append(time.monotonic() - begun)
    return taken


def describe_times(taken: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median and longest seconds of each page."""
    return {
        name: {"median_s": statistics.median(times), "longest_s": max(times)}
        for name, times in taken.items()
    }


def await_digested(api_url: str, n_task_runs: int, limit_s: float) -> float:
    """Waits until the server knows so many finished task runs; returns the seconds it took.

    Raises:
        TimeoutError: if it does not within the limit.
    """
    begun = time.monotonic()
    body = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    while time.monotonic() - begun < limit_s:
        found = httpx.post(f"{api_url}/task_runs/count", json=body, timeout=60).json()
        if found >= n_task_runs:
            return time.monotonic() - begun
        time.sleep(1)
    raise TimeoutError(f"{n_task_runs} task runs must be known, {found} are after {limit_s:g} s")
