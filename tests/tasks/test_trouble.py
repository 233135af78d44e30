"""What Prefect's client raises is told in words, and what the work can do without is a warning."""

import logging

import httpx
import pytest
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from tasks.trouble import GONE, LATE, find_trouble, not_vital, read_status

REQUEST = httpx.Request("POST", "http://127.0.0.1:4200/api/artifacts/")


def refusal(status: int) -> PrefectHTTPStatusError:
    """What the client raises for an answer of that status."""
    error = httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(status))
    return PrefectHTTPStatusError.from_httpx_error(error)


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.RemoteProtocolError("x")])
def test_server_that_hangs_up_is_gone(error: Exception) -> None:
    """Nobody listens, or whoever does says nothing."""
    assert GONE == find_trouble(error)


def test_server_that_is_late_is_not_gone() -> None:
    """To start it again would be the wrong advice."""
    assert LATE == find_trouble(httpx.ReadTimeout("x"))


def test_what_the_server_does_not_know_is_its_404() -> None:
    """Prefect's client wraps that one."""
    assert read_status(404) == find_trouble(ObjectNotFound(refusal(404)))


def test_every_other_refusal_says_its_status() -> None:
    """A status that nobody foresaw can be looked up."""
    trouble = find_trouble(refusal(418))
    assert trouble is not None and "it refuses (418)" == trouble.found


def test_artifact_that_is_refused_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It names what is not shown, why, and what to do."""
    with caplog.at_level(logging.WARNING), not_vital("the table splits"):
        raise refusal(500)
    (record,) = caplog.records
    expected = (
        "The dashboard does not hear of the table splits: the Prefect server must answer, it fails "
        "(500); look into its log: its database may be locked, or its disk full"
    )
    assert expected == record.getMessage()


def test_fault_of_ones_own_is_no_trouble_of_the_server() -> None:
    """It is not hidden behind a warning."""
    with pytest.raises(RuntimeError, match="ours"), not_vital("a page"):
        raise RuntimeError("ours")
