"""The one filter of all that goes to Prefect: log records, artifacts, errors of flows and tasks.

Enters: the studies that this process works for. Leaves: texts in which their donors are codes.
Every flow is `private`, every task `discreet`, everything in `tasks.reporting` goes through `hide`;
a worker is told the codes by a plugin (`tasks.workers.KeepsDonorsPrivate`).
"""

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

import pandas as pd

from somaflow.files import take_umask
from somaflow.privacy import DonorCodes, donor_codes
from somaflow.study import Study

P = ParamSpec("P")
R = TypeVar("R")


class _Known:
    """The codes of this process, by output folder of their study; the latest first.

    Replaced, never changed: threads read it while a flow begins. It keeps those of earlier studies,
    since the last words of a run come after its end.
    """

    codes: ClassVar[dict[Path, DonorCodes]] = {}


def keep_private(study: Study) -> None:
    """From now on this process tells Prefect no donor of the study, unless the study shows them.

    Raises:
        OutputError: if the study's output folder cannot be written.
    """
    use_codes(study.output, donor_codes(study))


def use_codes(output: Path, codes: DonorCodes | None) -> None:
    """As `keep_private`, with codes that are known; None lets the study's donors be seen."""
    others = {place: known for place, known in _Known.codes.items() if place != output}
    _Known.codes = others if codes is None else {output: codes, **others}
    if codes is not None:
        _watch_log_records()


def known_codes(output: Path) -> DonorCodes | None:
    """The codes that this process uses for the study of that output folder."""
    return _Known.codes.get(output)


def hide(text: str) -> str:
    """The text without donors."""
    for codes in _Known.codes.values():
        text = codes.hide(text)
    return text


def hide_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table without donors."""
    for codes in _Known.codes.values():
        table = codes.hide_table(table)
    return table


def note_on(text: str) -> str:
    """Where the ids are to be found that a text names; empty if it names none.

    Args:
        text: that is not hidden yet.
    """
    return "; ".join(codes.note for codes in _Known.codes.values() if codes.hide(text) != text)


def private(function: Callable[P, R]) -> Callable[P, R]:
    """The body of a flow of one study, to stand below `@flow`.

    Its donors are told to nobody, and its files are the owner's alone.
    """
    signature = inspect.signature(function)
    run_discreetly = discreet(function)

    @wraps(run_discreetly)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        take_umask()
        keep_private(signature.bind(*args, **kwargs).arguments["study"])
        return run_discreetly(*args, **kwargs)

    return run


def discreet(function: Callable[P, R]) -> Callable[P, R]:
    """The body of a task, whose errors name no donor; to stand below `@task`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            hidden = _hide_error(error)
            if hidden is error:
                raise
            raise hidden from None

    run.is_discreet = True  # type: ignore[attr-defined]
    return run


def _hide_error(error: Exception) -> Exception:
    """The same error with its texts hidden; another in its place if it does not part with them."""
    note = note_on(str(error))
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            _hide_texts(one)
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
    if (text := hide(str(error))) != str(error):
        return RuntimeError(f"{type(error).__name__}: {text} ({note})")
    if note and len(error.args) == 1:
        error.args = (f"{error.args[0]} ({note})",)
    return error


def _hide_texts(error: BaseException) -> None:
    error.args = tuple(hide(part) if isinstance(part, str) else part for part in error.args)
    for name in ("filename", "filename2"):  # of an OSError, which keeps them apart
        if isinstance(value := getattr(error, name, None), str):
            setattr(error, name, hide(value))
    if notes := getattr(error, "__notes__", None):
        error.__notes__ = [hide(note) for note in notes]


def _watch_log_records() -> None:
    """Has every log record of this process made without donors, whatever logger it is of."""
    make = logging.getLogRecordFactory()
    if getattr(make, "is_discreet", False):
        return

    def make_discreetly(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            return record  # its handlers say what is wrong with it
        record.msg, record.args = hide(message), ()
        if record.levelno >= logging.WARNING and (note := note_on(message)):
            record.msg += f" ({note})"
        if record.exc_info:
            record.exc_text = hide(logging.Formatter().formatException(record.exc_info))
        return record

    make_discreetly.is_discreet = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_discreetly)
