"""The log of a run says an error's sentence; how it came about, only where nobody foresaw it."""

import logging
from collections.abc import Callable

import pytest

import tasks  # noqa: F401 - as flows and workers do
from somaflow.errors import DeviceError, StudyError


def refuse() -> None:
    raise StudyError("recipe must be one of baseline, got 'x'")


def explain() -> None:
    try:
        raise RuntimeError("CUDA error")
    except RuntimeError as error:
        raise DeviceError("a net must run on its device") from error


def stumble() -> None:
    raise KeyError("nobody foresaw this")


@pytest.mark.filterwarnings("ignore:Logger .* attempted to send logs")
@pytest.mark.parametrize("logger", ["prefect.flow_runs", "prefect.task_runs"])
@pytest.mark.parametrize(
    ("fail", "has_traceback"), [(refuse, False), (explain, True), (stumble, True)]
)
def test_errors_that_explain_themselves_have_no_traceback(
    logger: str, fail: Callable[[], None], has_traceback: bool
) -> None:
    """A user's mistake is one line; what another error caused keeps the way it came."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger(logger).addHandler(handler)
    try:
        fail()
    except Exception as error:
        # As Prefect's engines log it.
        logging.getLogger(logger).exception("Encountered exception during execution: %r", error)
    finally:
        logging.getLogger(logger).removeHandler(handler)

    (record,) = records
    assert has_traceback == ("Traceback" in logging.Formatter().format(record))
    assert "Encountered exception" in record.getMessage()
