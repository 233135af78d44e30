"""A flow whose task is the death of every worker that takes it: `python -m tests.flows.deadly`."""

import os
import signal
import sys
import time
from pathlib import Path

from prefect import flow, task

from flows.sites import dask_runner


@task(task_run_name="deadly")
def die() -> None:
    """Kills the worker it runs on, once the server knows that it runs."""
    time.sleep(4)
    os.kill(os.getpid(), signal.SIGKILL)


@flow(name="deadly", flow_run_name="deadly")
def deadly(output: Path) -> None:
    """Runs it on local workers."""
    with dask_runner("laptop", output) as runner:
        runner.run(die)


if __name__ == "__main__":
    deadly(Path(sys.argv[1]))
