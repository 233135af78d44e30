"""Nothing that is read can run code: weights and arrays alone, never pickles."""

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import REPOSITORY

ROOMS = ("somaflow", "infra", "tasks", "flows")
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def calls(name: str) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """Place and keywords of every call of `x.<name>` in the rooms."""
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    whole = ast.unparse(node.func)
                    if whole == name:
                        place = f"{path.relative_to(REPOSITORY)}:{node.lineno}"
                        yield place, {key.arg or "": key.value for key in node.keywords}


@pytest.mark.parametrize(
    ("name", "keyword", "value", "least"),
    [("torch.load", "weights_only", "True", 2), ("np.load", "allow_pickle", "False", 1)],
)
def test_files_are_loaded_without_code(name: str, keyword: str, value: str, least: int) -> None:
    """Every call says so, whatever the library's default is: no weights or arrays run anything."""
    found = list(calls(name))
    assert len(found) >= least
    assert [] == [
        place
        for place, keywords in found
        if keyword not in keywords or ast.unparse(keywords[keyword]) != value
    ]


def test_yaml_builds_nothing_but_plain_values() -> None:
    """yaml.load is called with BaseLoader alone, which makes texts of everything."""
    assert [] == [
        place
        for place, keywords in calls("yaml.load")
        if ast.unparse(keywords["Loader"]) != "yaml.BaseLoader"
    ]


def test_no_room_unpickles() -> None:
    """What Prefect and Dask exchange is their own matter; no file is unpickled by somaflow."""
    found = []
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                found += [f"{path}: {name}" for name in names if name.split(".")[0] in FORBIDDEN]
    assert [] == found
