"""Whether a task runs again: its content key decides, and the disk has the last word."""

from pathlib import Path
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

import somaflow
from somaflow.errors import SomaflowError


def keyed(task: Task[Any, Any], key: str, results: Path, on_disk: bool) -> Task[Any, Any]:
    """The task under a content key: run once for that key, a lookup from then on.

    The result is kept in the study's own folder, so it is shared by every worker and flow run, and
    goes when the study goes. Where the files that the task made are no longer on disk, the cached
    result is void and the task runs again. So is one of another release: it is a pickle of objects
    that may look otherwise now.

    Args:
        task: to be submitted.
        key: hash of everything that shapes the result.
        results: `RunPaths.task_results`.
        on_disk: whether what the task writes is there, whole.
    """
    name = f"{task.name}-{key}-{somaflow.__version__}"
    return task.with_options(
        cache_key_fn=lambda _context, _parameters: name,
        persist_result=True,
        result_storage=results,
        refresh_cache=not on_disk,
    )


def can_heal(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth a retry; bad input and full disks are not."""
    try:
        state.result(raise_on_failure=True)
    except SomaflowError as error:
        return error.heals == "at once"
    except Exception:  # noqa: BLE001 - the failure is the task's own and stays its state
        return True
    return False
