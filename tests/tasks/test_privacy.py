"""The filter before Prefect: every flow and task has it, and what it lets through."""

import ast
import logging
import pickle
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from prefect import Flow, Task
from pydantic import BaseModel

from somaflow.errors import OutputError, StoreError, TileError
from somaflow.privacy import DonorCodes
from tasks.privacy import (
    _Known,
    discreet,
    hide,
    hide_table,
    known_codes,
    note_on,
    use_codes,
)
from tests.conftest import REPOSITORY

OUTPUT = Path("/study/output")
DONOR = "90000024"


@pytest.fixture
def codes() -> Iterator[DonorCodes]:
    """Codes that this process uses for one test."""
    make = logging.getLogRecordFactory()
    made = DonorCodes(b"s", [DONOR], ["n.d."], OUTPUT / "codes.tsv")
    use_codes(OUTPUT, made)
    yield made
    _Known.codes = {}
    logging.setLogRecordFactory(make)


def modules() -> list[str]:
    """All modules of the rooms that know Prefect."""
    files = [*REPOSITORY.glob("flows/*.py"), *REPOSITORY.glob("tasks/*.py")]
    return sorted(f"{path.parent.name}.{path.stem}" for path in files if path.stem[0] != "_")


def test_every_flow_and_task_is_discreet() -> None:
    """None was forgotten: an error of each goes through the filter."""
    found = {
        f"{name}.{attribute}": value
        for name in modules()
        for attribute, value in vars(import_module(name)).items()
        if isinstance(value, Flow | Task)
    }
    assert len(found) > 20
    assert [] == [
        name for name, value in found.items() if not getattr(value.fn, "is_discreet", False)
    ]


def test_artifacts_are_made_in_one_place() -> None:
    """What imports prefect.artifacts is tasks.reporting alone."""
    makers = set()
    for path in [*REPOSITORY.glob("flows/*.py"), *REPOSITORY.glob("tasks/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(name.startswith("prefect.artifacts") for name in names):
                makers.add(path.name)
    assert {"reporting.py"} == makers


def fail_with(error: Exception) -> Exception:
    """What comes out of a discreet function that raises the error."""

    @discreet
    def fail() -> None:
        raise error

    with pytest.raises(Exception) as caught:
        fail()
    return caught.value


class Refusing(BaseModel):
    number: int


def test_errors_lose_the_donor_and_keep_their_type(codes: DonorCodes) -> None:
    """Whoever reacts to a type still can; the text says where the ids are."""
    error = fail_with(TileError(f"tile GFAP_{DONOR}_grey cannot be read"))
    assert isinstance(error, TileError)
    assert f"tile GFAP_{codes.code(DONOR)}_grey cannot be read" in str(error)
    assert str(OUTPUT / "codes.tsv") in str(error)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))  # noqa: S301


@pytest.mark.parametrize(
    "error",
    [
        KeyError(DONOR),
        FileNotFoundError(2, "No such file", f"/tiles/GFAP/GFAP/{DONOR}/Grey/x.tiff"),
        OutputError(f"cannot write {DONOR}"),
        StoreError(f"no labels of {DONOR}"),
        ValueError("could not convert", f"GFAP_{DONOR}", 3),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, f"in {DONOR}"),
    ],
)
@pytest.mark.usefixtures("codes")
def test_errors_of_any_kind_lose_the_donor(error: Exception) -> None:
    """Whatever they keep their text in."""
    hidden = fail_with(error)
    assert DONOR not in str(hidden)
    assert DONOR not in repr(hidden)


@pytest.mark.usefixtures("codes")
def test_error_that_does_not_part_with_its_text_is_replaced() -> None:
    """Pydantic's errors hold what was given to them."""
    with pytest.raises(ValueError) as caught:
        Refusing.model_validate({"number": f"x{DONOR}"})
    hidden = fail_with(caught.value)
    assert isinstance(hidden, RuntimeError)
    assert str(hidden).startswith("ValidationError: 1 validation error")
    assert DONOR not in str(hidden)
    assert hidden.__suppress_context__


@pytest.mark.usefixtures("codes")
def test_causes_lose_the_donor_too() -> None:
    """A traceback prints the whole chain, and notes."""
    cause = KeyError(DONOR)
    cause.__context__ = OSError(f"before {DONOR}")
    error = StoreError("torn")
    error.__cause__ = cause
    error.add_note(f"while reading {DONOR}")
    record = logging.getLogger("x").makeRecord(
        "x", 40, "x", 1, "failed", (), (StoreError, fail_with(error), None)
    )
    printed = logging.Formatter().format(record)
    assert "KeyError" in printed and "before" in printed and "while reading" in printed
    assert DONOR not in printed


def test_error_without_a_donor_is_left_as_it_is(codes: DonorCodes) -> None:
    """The same object, the same text."""
    error = TileError("image must be whole")
    assert error is fail_with(error)
    assert "image must be whole" == str(error)
    assert "" == note_on("image must be whole")


def test_log_records_lose_the_donor(codes: DonorCodes, caplog: pytest.LogCaptureFixture) -> None:
    """In text, arguments and traceback, of any logger; a warning says where the ids are."""
    logger = logging.getLogger("anything")
    with caplog.at_level(logging.INFO, "anything"):
        logger.info("tile %s of %d", f"GFAP_{DONOR}_grey", 3)
        logger.warning("donor %s", DONOR)
        try:
            raise KeyError(DONOR)
        except KeyError:
            logger.exception("failed")
    code = codes.code(DONOR)
    assert f"tile GFAP_{code}_grey of 3" == caplog.records[0].getMessage()
    assert f"donor {code} ({codes.note})" == caplog.records[1].getMessage()
    assert DONOR not in caplog.text
    assert "KeyError" in caplog.text


@pytest.mark.usefixtures("codes")
def test_wrong_log_call_is_no_error_of_the_filter() -> None:
    """Python prints what is wrong with it and goes on; so does the filter."""
    record = logging.getLogger("x").makeRecord("x", 20, "x", 1, "%d", ("word",), None)
    assert ("word",) == record.args


def test_study_that_shows_its_donors_again_is_not_filtered(codes: DonorCodes) -> None:
    """The switch works in a process that ran the study before."""
    assert codes.code(DONOR) == hide(DONOR)
    assert codes is known_codes(OUTPUT)
    use_codes(OUTPUT, None)
    assert DONOR == hide(DONOR)
    assert [DONOR] == hide_table(pd.DataFrame({"donor": [DONOR]})).donor.tolist()
