"""The jobs of a SLURM cluster, watched: who waits, who was refused, who ended before it worked.

dask-jobqueue submits jobs and waits for their workers, for ever: it does not see that sbatch
refused, that a job died before its worker came up, or why one does not start. `JobWatch` sees it,
lets another job take a dead one's place, and says in words when no worker can be had.
"""

import getpass
import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import SchedulerPlugin

from infra.specs import SlurmSite

_LOGGER = logging.getLogger("somaflow.jobs")
_POLL_S = 2.0
# A job that SLURM no longer lists may be one that it does not list yet.
_LISTED_WITHIN_S = 5.0
_AGAIN_AFTER_S = 5.0
# A worker that lived shorter did not work: its environment is wrong.
_LIVED_S = 10.0
_DEATHS_IN_A_ROW = 3
_LAST_LINES = 5
NOTHING = "nothing"
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "SUSPENDED")
SQUEUE_LIMIT_S = 30


@dataclass
class Job:
    """What became of one job."""

    submitted_at: float
    number: str = ""
    refused: str = ""
    closed: bool = False
    came_up_at: float | None = None
    lived_s: float = 0.0

    def worked(self) -> bool:
        """Whether its worker came up and stayed a while."""
        came = self.came_up_at
        return self.lived_s >= _LIVED_S or (
            came is not None and time.monotonic() - came >= _LIVED_S
        )


@dataclass
class JobBoard:
    """What happened to each job, by the name of its worker."""

    jobs: dict[str, Job] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)
    """Of jobs that ended or were refused since a worker last worked; a sentence each."""

    def job_class(self, clusters: str | None) -> type:
        """dask-jobqueue's job, which tells this board; cancelled where it was submitted."""
        from infra.submission import ToldJob  # dask-jobqueue, only where there is a SLURM

        own = {"board": self, "cancel_command": " ".join(scancel(clusters))}
        return type("Job", (ToldJob,), own)


class _Arrivals(SchedulerPlugin):
    """Notes on the board when workers come and go."""

    name = "somaflow-arrivals"

    def __init__(self, board: JobBoard) -> None:
        self.board = board
        self._names: dict[str, str] = {}

    def add_worker(self, scheduler: Any, worker: str) -> None:
        name = self._names[worker] = str(scheduler.workers[worker].name)
        if (job := self.board.jobs.get(name)) is not None:
            job.came_up_at = time.monotonic()

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        job = self.board.jobs.get(self._names.pop(worker, ""))
        if job is not None and job.came_up_at is not None:
            job.lived_s = max(job.lived_s, time.monotonic() - job.came_up_at)
            job.came_up_at = None


class JobWatch:
    """Looks at SLURM's queue every two seconds, from a thread, until it is stopped."""

    def __init__(self, site: SlurmSite, board: JobBoard, logs: Path, cluster: Any) -> None:
        """Starts watching.

        Args:
            site: of the cluster.
            board: that its jobs tell.
            logs: where they write their logs.
            cluster: dask-jobqueue's; its scheduler runs in this process.
        """
        self._site, self._board, self._logs, self._cluster = site, board, logs, cluster
        self._idle_since = time.monotonic()
        self._warned: set[str] = set()
        self._end = threading.Event()
        self.problem = ""
        """Why no worker can be had, in words; empty as long as some can."""
        self.on_problem: Callable[[], None] = lambda: None
        """Called once, from the watching thread, when there is one."""
        cluster.scheduler.add_plugin(_Arrivals(board))
        self._thread = threading.Thread(target=self._run, name="job-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._end.set()
        self._thread.join()

    def log_of(self, worker: str) -> Path | None:
        """The log file of a worker's job."""
        job = self._board.jobs.get(worker)
        return self._log(job.number) if job is not None and job.number else None

    def _run(self) -> None:
        while not self._end.wait(_POLL_S) and not self.problem:
            self._look()
            if self.problem:
                self.on_problem()

    def _look(self) -> None:
        board = self._board
        jobs = list(board.jobs.values())  # Dask's thread adds some at any moment
        if any(job.worked() for job in jobs):
            board.deaths.clear()
        if any(job.came_up_at is not None for job in jobs):
            self._idle_since = time.monotonic()
        queue = read_queue(self._site.clusters)
        if queue is None:
            return  # SLURM does not answer: nothing is known, so nothing is said
        for name, job in list(board.jobs.items()):
            self._judge(name, job, queue)
        if len(board.deaths) >= _DEATHS_IN_A_ROW:
            self.problem = (
                f"workers must start, {len(board.deaths)} in a row did not: {board.deaths[-1]}; "
                "mend the site file or the environment, `somaflow check STUDY --site SITE` tries it"
            )

    def _judge(self, name: str, job: Job, queue: dict[str, tuple[str, str]]) -> None:
        age_s = time.monotonic() - job.submitted_at
        if job.refused:
            if age_s > _AGAIN_AFTER_S:
                self._bury(name, f"sbatch refused: {job.refused}")
        elif not job.number or job.number in queue:
            state, reason = queue.get(job.number, ("", ""))
            if state in WAITING:
                self._judge_waiting(job, reason, age_s)
        elif job.closed:
            self._board.jobs.pop(name, None)
        elif age_s > _LISTED_WITHIN_S and job.came_up_at is None:
            worked = job.worked()
            log = self._log(job.number)
            sentence = f"job {job.number} ended early; {log} ends with: {last_lines(log)}"
            self._bury(name, "" if worked else sentence)

    def _judge_waiting(self, job: Job, reason: str, age_s: float) -> None:
        if age_s > 60 * self._site.pending_limit_minutes and job.number not in self._warned:
            self._warned.add(job.number)
            _LOGGER.warning(
                "Job %s waits for %.0f minutes, says SLURM: %s", job.number, age_s / 60, reason
            )
        waited_s = min(age_s, time.monotonic() - self._idle_since)
        if waited_s > 60 * self._site.queue_limit_minutes:
            self.problem = (
                f"a worker must start within {self._site.queue_limit_minutes:g} minutes "
                f"(queue_limit_minutes), job {job.number} still waits, says SLURM: {reason}; run "
                "again later, or choose another partition or a higher limit in the site file"
            )

    def _bury(self, name: str, death: str) -> None:
        """Forgets a job that is gone, so that another may take its worker's place."""
        self._board.jobs.pop(name, None)
        if death:
            self._board.deaths.append(death)
            _LOGGER.warning("No worker came of a job: %s", death)
        self._cluster.loop.add_callback(self._cluster.workers.pop, name, None)

    def _log(self, number: str) -> Path:
        return self._logs / f"{self._cluster.job_name}-{number}.err"


def read_queue(clusters: str | None = None) -> dict[str, tuple[str, str]] | None:
    """State and reason of each of this user's jobs, by number; None if SLURM does not answer."""
    query = ["squeue", "-h", "-u", getpass.getuser(), "-o", "%A|%T|%r"]
    query += [] if clusters is None else [f"--clusters={clusters}"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, check=False, timeout=SQUEUE_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    rows = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    return {number: (state, reason) for number, state, reason in rows}


def scancel(clusters: str | None) -> list[str]:
    """The command that cancels jobs where they were submitted; their numbers follow."""
    return ["scancel"] if clusters is None else ["scancel", f"--clusters={clusters}"]


def last_lines(log: Path) -> str:
    """The last lines of a job's log, in one; `NOTHING` where there is none."""
    return last_words(log.read_text(errors="replace")) if log.exists() else NOTHING


def last_words(text: str) -> str:
    """The last lines of what a command or a job said, in one; `NOTHING` if that is empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-_LAST_LINES:]) or NOTHING
