"""Why a run failed, told from the words it left, and whether running it again may help.

Enters: the message of a failed run, which names the exception's class before its words; an error
that lists several has a line for each. Leaves: a `Cause`. Words that name no class, as those of a
process that was killed, are of something that may heal.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from somaflow.errors import SomaflowError

_CLASS = re.compile(r"\b([A-Z]\w*(?:Error|Exception|Stopped)): ?")
# What Prefect and pydantic call parameters that do not fit: a study file, or a form.
_BAD_PARAMETERS = {
    "ParameterBindError",
    "ParameterTypeError",
    "SignatureMismatchError",
    "ValidationError",
}
_UNSAID = "it left no word; its log may say more"


@dataclass(frozen=True)
class Cause:
    """Why a run failed."""

    words: str
    """As the run said it, whole."""
    heals: bool
    """Whether the same run, later, may end well; False: a person must mend the cause."""

    @property
    def line(self) -> str:
        """The first line of the words."""
        return self.words.splitlines()[0]


def read_cause(message: str | None) -> Cause:
    """The cause in a failed run's message.

    Of an error that lists several, one that may heal is enough: the others are looked up and fail
    again at once, which costs little.
    """
    words = (message or "").strip() or _UNSAID
    lines = [(match[1], line) for line in words.splitlines() if (match := _CLASS.search(line))]
    # A line that ends with a colon is the heading of those below it.
    listed = [name for name, line in lines if not line.rstrip().endswith(":")]
    names = listed or [name for name, _ in lines[:1]]
    return Cause(words, not names or any(_heals(name) for name in names))


def _heals(name: str) -> bool:
    if name in _BAD_PARAMETERS:
        return False
    known = {error.__name__: error for error in _all_errors(SomaflowError)}
    return known[name].heals != "never" if name in known else True


def _all_errors(root: type[SomaflowError]) -> Iterator[type[SomaflowError]]:
    yield root
    for leaf in root.__subclasses__():
        yield from _all_errors(leaf)
