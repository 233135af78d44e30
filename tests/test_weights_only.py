"""Nothing that is read can run code: weights and arrays alone, never pickles."""

import ast
from collections.abc import Iterator

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


def test_weights_are_loaded_as_weights_only() -> None:
    """Every torch.load says weights_only=True, whatever torch's default is."""
    found = list(calls("torch.load"))
    assert len(found) >= 2
    assert [] == [
        place
        for place, keywords in found
        if "weights_only" not in keywords or ast.unparse(keywords["weights_only"]) != "True"
    ]


def test_arrays_are_loaded_without_pickles() -> None:
    """Every np.load says allow_pickle=False."""
    found = list(calls("np.load"))
    assert len(found) >= 1
    assert [] == [
        place
        for place, keywords in found
        if "allow_pickle" not in keywords or ast.unparse(keywords["allow_pickle"]) != "False"
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
