"""Work on local workers that do not come up ends in words, and not because nobody looked."""

import time

import pytest

from flows.sites import _LONELY_LIMIT_S, _Lonely


def test_only_time_that_was_watched_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour in which nobody asked says nothing; then minutes without a worker add up."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    lonely = _Lonely()
    clock[0] += 3600
    assert 0 == lonely.seconds(lambda: 0)
    for _ in range(_LONELY_LIMIT_S):
        clock[0] += 1
        waited = lonely.seconds(lambda: 0)
    assert _LONELY_LIMIT_S == waited
    assert 0 == lonely.seconds(lambda: 1)
