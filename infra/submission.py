"""dask-jobqueue's job of SLURM, which tells what became of its submission.

A module of its own, for runs on SLURM alone: importing dask-jobqueue takes over Ctrl-C, which
Python allows in a process's main thread only. Prefect imports flows in other threads, too: in its
worker, when a run has crashed.
"""

import signal
import time

from distributed.core import Status

from infra.jobs import Job, JobBoard, last_words

_CTRL_C = signal.getsignal(signal.SIGINT)
from dask_jobqueue.slurm import SLURMCluster, SLURMJob  # noqa: E402 - Ctrl-C goes on doing what it did

signal.signal(signal.SIGINT, _CTRL_C)
__all__ = ["SLURMCluster", "ToldJob"]


class ToldJob(SLURMJob):
    """A job whose fate is on a board."""

    board: JobBoard

    async def start(self) -> None:
        """Submits the job; a refusal is noted, and left to the watch."""
        job = self.board.jobs[str(self.name)] = Job(time.monotonic())
        try:
            await super().start()
            job.number = str(self.job_id)
        except (RuntimeError, OSError, ValueError) as error:
            # Raised here, it would only be logged by Dask, as a traceback, and never tried again.
            # Of dask-jobqueue's report of a failed command, what sbatch said.
            job.refused = last_words(str(error).rsplit("stderr:", 1)[-1])
            self.status = Status.running

    async def close(self) -> None:
        """Cancels the job."""
        if (job := self.board.jobs.get(str(self.name))) is not None:
            job.closed = True
        await super().close()
