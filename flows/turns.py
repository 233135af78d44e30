"""One run at a time segments a study: a second one waits for its turn, and says for whom."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Running

from somaflow.claims import Holder, IfBusy, claim_study
from somaflow.clocks import describe_duration
from somaflow.study import Study
from tasks.trouble import not_vital

_SAY_EVERY_S = 600.0


@contextmanager
def study_to_itself(study: Study, if_busy: IfBusy) -> Iterator[None]:
    """Has the study's outputs for the run of this flow alone, as long as the block lasts.

    While it waits, the run is shown as «Waiting», with whom it waits for; it may be cancelled.

    Args:
        study: to segment.
        if_busy: `wait` for a run that is at work on it, or `refuse` to begin.

    Raises:
        BusyError: if another run is at work and `if_busy` says to refuse.
    """
    waiting = _Waiting(study)
    name = flow_run.get_name() or f"a run of {study.name}"
    with claim_study(study.paths, name, if_busy, waiting):
        waiting.end()
        yield


class _Waiting:
    """Says for whom a run waits: in its log, and as its state on the dashboard."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._since: float | None = None
        self._said_at = 0.0
        self._holder: Holder | None = None

    def __call__(self, holder: Holder) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if holder == self._holder and now - self._said_at < _SAY_EVERY_S:
            return
        words = f"waits for {holder}, which is at work on {self._study.output}"
        if self._holder is None:
            _show_state("Waiting", words)
        self._said_at, self._holder = now, holder
        get_run_logger().info("This run %s", words)

    def end(self) -> None:
        """Its turn has come."""
        if self._since is not None:
            waited = describe_duration(time.monotonic() - self._since)
            get_run_logger().info("It is this run's turn, after %s", waited)
            _show_state("Running", f"waited for {waited}")


def _show_state(name: str, message: str) -> None:
    """Names the running state; a server that does not answer is not the run's end."""
    run_id = flow_run.get_id()
    if run_id is None:
        return
    with not_vital(f"this run, which {message}"), get_client(sync_client=True) as client:
        # Not forced: a run that is being cancelled stays so.
        client.set_flow_run_state(run_id, Running(name=name, message=message))
