"""What is wrong with the Prefect server, in words that say what to do, and what goes on without it.

Enters: an error of Prefect's client. Leaves: a `Trouble`, or a warning where the work can do
without. It imports httpx late: `somaflow run` asks whether a server has started before it needs
Prefect.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LOGGER = logging.getLogger("prefect.somaflow")
_FAILS = 500


@dataclass(frozen=True)
class Trouble:
    """Why the server is of no use."""

    found: str
    """What it does instead of answering."""
    advice: str
    """What a person can do about it."""


GONE = Trouble("it does not any more", "start it")
LATE = Trouble(
    "it does not in time",
    "look whether its machine is overloaded or it hangs",
)
_REFUSALS = {
    401: Trouble(
        "it asks for another password (401)",
        "set PREFECT_API_AUTH_STRING to the server's own",
    ),
    403: Trouble(
        "it forbids that (403)",
        "ask who runs it, or the proxy in front of it, what this user may do",
    ),
    404: Trouble(
        "it knows nothing of that (404)",
        "look whether PREFECT_API_URL is the server that the run began with",
    ),
    429: Trouble("it is asked too much (429)", "wait, or have fewer runs at the same time"),
}
_OTHER_VERSION = "Found incompatible versions"
_NO_VERSION = "Failed to reach API"


def find_trouble(error: BaseException) -> Trouble | None:
    """What the error says of the server; None if it is about something else."""
    import httpx

    error = getattr(error, "http_exc", error)  # of what Prefect's client did not find
    if isinstance(error, httpx.HTTPStatusError):
        return read_status(error.response.status_code)
    if isinstance(error, httpx.TimeoutException):
        return LATE
    if isinstance(error, httpx.TransportError):
        return GONE
    if isinstance(error, RuntimeError):
        return _read_version_check(error)
    return None


def read_status(status: int) -> Trouble:
    """What a status of 400 or more says of the server."""
    if status >= _FAILS:
        advice = "look into its log: its database may be locked, or its disk full"
        return Trouble(f"it fails ({status})", advice)
    return _REFUSALS.get(status, Trouble(f"it refuses ({status})", "look into its log"))


def _read_version_check(error: RuntimeError) -> Trouble | None:
    """Prefect's client asks for the version as a run begins, here and on each worker."""
    words = str(error)
    if words.startswith(_OTHER_VERSION):
        return Trouble(f"it is of another version ({words})", "install the same Prefect here")
    if not words.startswith(_NO_VERSION):
        return None
    known = find_trouble(error.__cause__) if error.__cause__ is not None else None
    other = "set PREFECT_API_URL to the API of a Prefect server; it ends with /api"
    return known or Trouble("what answers there is another program", other)


@contextmanager
def not_vital(what: str) -> Iterator[None]:
    """Lets the work go on where the dashboard cannot be told; a warning says so and why.

    Args:
        what: is not told, such as `the table of scores`.
    """
    try:
        yield
    except Exception as error:
        if (trouble := find_trouble(error)) is None:
            raise
        _LOGGER.warning("The dashboard does not hear of %s: %s", what, describe(trouble))


def describe(trouble: Trouble) -> str:
    """What must hold, what was found, and what to do, as half a sentence."""
    return f"the Prefect server must answer, {trouble.found}; {trouble.advice}"
