"""A task tries again at once only what may be over at once."""

import pytest
from prefect.states import Failed

from somaflow.errors import (
    DeviceError,
    InferenceError,
    OutputError,
    SiteError,
    StoreError,
    StudyError,
    TrainingStopped,
    WorkerLimitError,
)
from tasks.caching import can_heal


@pytest.mark.parametrize(
    ("error", "heals"),
    [
        (StudyError("x"), False),
        (DeviceError("x"), False),
        (WorkerLimitError("x"), False),
        (OutputError("x"), False),
        (SiteError("x"), False),
        (TrainingStopped("x"), False),
        (InferenceError("x"), True),
        (StoreError("x"), True),
        (RuntimeError("x"), True),
        (OSError("x"), True),
    ],
)
def test_retry_is_for_what_a_moment_may_mend(error: Exception, heals: bool) -> None:
    """Not for bad input, nor for a full disk or a busy cluster, which a later run is for."""
    assert heals == can_heal(None, None, Failed(data=error))  # type: ignore[arg-type]
