"""What is left: runs that claim to be under way, processes, memory."""

import statistics
from collections import Counter
from typing import Any

import psutil
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter

from infra.service.processes import find_marked
from tests.infra.services import Service

_NAMES = ("supervisor", "server", "worker")
_UNDER_WAY = ["PENDING", "RUNNING", "CANCELLING"]


class Memory:
    """MB of the service's processes, noted whenever a study has ended."""

    def __init__(self, service: Service) -> None:
        """Has noted nothing yet."""
        self._service = service
        self._mb: dict[str, list[float]] = {name: [] for name in _NAMES}

    def note(self) -> None:
        """Notes what they have now, with what they have started."""
        for name in _NAMES:
            try:
                process = psutil.Process(self._service.child(name).pid)
            except (psutil.NoSuchProcess, KeyError):
                continue  # it was killed, and is being started again
            self._mb[name].append(process.memory_info().rss / 1e6)

    def describe(self) -> dict[str, dict[str, float]]:
        """Median MB in the second, third and last quarter of the time, and their ratio.

        The first quarter is left out: what is imported and cached then is no growth.
        """
        return {name: _describe(values) for name, values in self._mb.items() if len(values) >= 4}


def _describe(values: list[float]) -> dict[str, float]:
    quarter = len(values) // 4
    parts = [values[n * quarter : (n + 1) * quarter] for n in (1, 2, 3)]
    second, third, last = map(statistics.median, parts)
    return {
        "second_quarter_mb": second,
        "third_quarter_mb": third,
        "last_quarter_mb": last,
        "last_to_second": last / second,
    }


def count_stuck(service: Service) -> dict[str, int]:
    """Flow runs and task runs that claim to be under way, by kind and state."""
    states = {"state": {"type": {"any_": _UNDER_WAY}}}
    with service.api() as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(states))
        tasks = client.read_task_runs(task_run_filter=TaskRunFilter.model_validate(states))
    flows = Counter(f"flow run {run.state_name}" for run in runs)
    return dict(flows + Counter(f"task run {task.state_name}" for task in tasks))


def find_orphans(service: Service) -> list[str]:
    """Processes that the service's workers or their runs started, and that nobody has ended."""
    own = {service.child(name).pid for name in _NAMES}
    marked = {known.pid for known in find_marked(service.home.folder)}
    return [_describe_process(pid) for pid in sorted(marked - own)]


def _describe_process(pid: int) -> str:
    try:
        return f"{pid}: {' '.join(psutil.Process(pid).cmdline())}"
    except psutil.NoSuchProcess:
        return f"{pid}: has just ended"


def measure_database(service: Service) -> Any:
    """Bytes of the SQLite files."""
    found = service.home.folder.rglob("*.db*")
    return sum(path.stat().st_size for path in found)
