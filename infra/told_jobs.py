"""dask-jobqueue's job of SLURM, which tells a board what becomes of it.

A module of its own, imported where the first job is made: dask-jobqueue takes the process's SIGINT
when it is imported, which Python refuses in any thread but the main one, and Prefect imports flows
in another one to look for their hooks.
"""

from dask_jobqueue.slurm import SLURMJob
from distributed.core import Status

from infra.jobs import JobBoard, last_words


class ToldJob(SLURMJob):
    """A job of SLURM that notes on the board what becomes of it."""

    board: JobBoard

    async def start(self) -> None:
        """Submits the job; a refusal is noted, and left to the watch."""
        job = self.board.submit(str(self.name))
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
