"""A clock that was set back is noticed; one that runs on, or is set forward, is not a fault."""

import time

import pytest

from somaflow.clocks import JumpBack


def test_time_that_passes_is_no_jump() -> None:
    """Ordinary time leaves nothing to complain of."""
    jump = JumpBack()
    time.sleep(0.05)
    assert jump.seconds() < 0.5


def test_jump_back_is_measured_after_a_jump_forward_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the distance to the latest moment the clock ever showed."""
    true_time, jump = time.time, JumpBack()
    monkeypatch.setattr(time, "time", lambda: true_time() + 3600)
    assert jump.seconds() < 0.5
    monkeypatch.setattr(time, "time", lambda: true_time() - 60)
    assert 3659 < jump.seconds() < 3661
