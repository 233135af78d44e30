"""One process that is started again when it dies, later each time, with a log that does not grow.

Logs are cut by copying them away: the process goes on writing at the end of the same file.
"""

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.service.processes import Known, end, know, run_as
from infra.service.settings import REPOSITORY
from somaflow.processes import die_with_parent

_LOGGER = logging.getLogger("somaflow.service")
_LONGEST_WAIT_S = 300.0
# Who lived so long may be started again at once.
_LIVED_S = 600.0
LOG_BYTES = 10_000_000
LOGS_KEPT = 4


class Child:
    """A process and, should it die, another one in its place."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        user: str | None = None,
        ask: signal.Signals = signal.SIGTERM,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        """Starts nothing yet.

        Args:
            name: what it is, for messages.
            command: what to run, in the repository's root.
            environment: the whole of it.
            log: where its output goes.
            user: who it runs as, if this is root; None = who runs this.
            ask: the signal that asks it to end.
            may_start: asked before it is started again; if not, it waits a little longer.
        """
        self.name, self.log = name, log
        self._command, self._environment = list(command), dict(environment)
        self._user, self._ask = user, ask
        self._may_start = may_start
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths, self._began, self._again_at = 0, 0.0, 0.0
        self.known: Known | None = None

    def start(self) -> None:
        """Starts it; it ends with this process, by whatever death (Linux)."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the supervisor's; it ends them in order
                preexec_fn=die_with_parent,
                **run_as(self._user),
            )
        self._began = time.monotonic()
        self.known = know(self._process.pid)

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def tend(self) -> bool:
        """Starts it again if it died and its wait is over; returns whether it did."""
        if self._process is None or self._process.poll() is None:
            return False
        if self.known is not None:
            lived_s = time.monotonic() - self._began
            self.known = None
            self._deaths = 1 if lived_s > _LIVED_S else self._deaths + 1
            wait_s = self._wait()
            _LOGGER.warning(
                "%s died (exit code %s) after %.0f s; it starts again in %.0f s; its log is %s",
                *(self.name, self._process.returncode, lived_s, wait_s, self.log),
            )
        if time.monotonic() < self._again_at:
            return False
        if not self._may_start():
            self._deaths += 1
            self._wait()
            return False
        self.start()
        _LOGGER.info("%s was started again", self.name)
        return True

    def _wait(self) -> float:
        wait_s = wait_before(self._deaths)
        self._again_at = time.monotonic() + wait_s
        return wait_s

    def stop(self, limit_s: float) -> None:
        """Asks it to end; kills it if it has not within the limit (s)."""
        if self._process is None:
            return
        if self._process.poll() is None and self.known is not None:
            end([self.known], limit_s, self._ask)
            self._process.wait()
        self._process = self.known = None

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def wait_before(deaths: int) -> float:
    """Seconds before the start after so many deaths in a row: 1, 2, 4 ... 300."""
    return min(_LONGEST_WAIT_S, 2.0 ** min(deaths - 1, 10))


def cut_log(log: Path, limit_bytes: int = LOG_BYTES, kept: int = LOGS_KEPT) -> None:
    """Moves what a log holds to <log>.1, and that to <log>.2 ..., if it is over the limit."""
    if not log.exists() or log.stat().st_size <= limit_bytes:
        return
    for number in range(kept, 1, -1):
        older = log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def remove_old(folder: Path, days: float) -> None:
    """Removes files below a folder that nobody has written for so many days."""
    before = time.time() - days * 86_400
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
