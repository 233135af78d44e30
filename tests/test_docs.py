"""Documentation is true: what it names exists, and nothing in the tree names a machine."""

import re
import subprocess

import pytest

from somaflow.cli import app
from somaflow.errors import SomaflowError
from somaflow.study import Study
from tests.conftest import REPOSITORY

DOCUMENTS = sorted(
    path
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
    if ".venv" not in path.parts
)


def words(pattern: str) -> set[str]:
    """What the pattern finds in all documents."""
    return {word for path in DOCUMENTS for word in re.findall(pattern, path.read_text(), re.M)}


def test_docs_name_only_make_targets_that_exist() -> None:
    """Each `make X` in the documents is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    assert words(r"`make ([a-z-]+)") <= targets
    assert {"demo", "test", "check", "bench"} <= targets


def test_docs_name_only_commands_that_exist() -> None:
    """Each `somaflow VERB` in the documents is a command, and each command is documented."""
    commands = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback is not None
    }
    assert commands == words(r"(?:`|^|bin/)somaflow ([a-z]+)")


def test_docs_link_only_to_files_that_exist() -> None:
    """No relative link is broken."""
    broken = [
        f"{path.name}: {link}"
        for path in DOCUMENTS
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / link).exists()
    ]
    assert [] == broken


def test_settings_named_in_the_docs_are_fields_of_a_study() -> None:
    """Settings written as `name: value` in the decisions exist in the study's schema."""
    schema = Study.model_json_schema()
    fields = set(schema["properties"])
    for item in schema["$defs"].values():
        fields |= set(item["properties"])
    named = words(r"`([a-z_]+): [a-z]+`")
    assert named <= fields, named - fields


def test_every_error_is_of_one_tree_and_survives_pickle() -> None:
    """Each error crosses process borders with its message, and has one root."""
    import pickle

    from somaflow import errors

    leaves = [
        leaf
        for leaf in vars(errors).values()
        if isinstance(leaf, type) and issubclass(leaf, Exception)
    ]
    assert len(leaves) > 10
    for leaf in leaves:
        assert issubclass(leaf, SomaflowError)
        assert "what to do" == str(pickle.loads(pickle.dumps(leaf("what to do"))))  # noqa: S301


def test_tree_names_no_registry_and_no_machine() -> None:
    """Committed files name no package registry's host and no absolute path of a home."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if tracked.returncode or not tracked.stdout:
        pytest.skip("not a git checkout")
    names = [("py" + "pi", "org"), ("python" + "hosted", "org"), ("npm" + "js", "org")]
    hosts = [".".join(parts) for parts in names]
    found = []
    for name in tracked.stdout.split("\0"):
        path = REPOSITORY / name
        if not name or not path.is_file() or path.suffix in {".pt", ".jpg"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{name}: {host}" for host in hosts if host in text]
        found += [f"{name}: {home}" for home in re.findall(r"(?<![\w.])/(?:root|home)/\w+", text)]
    assert [] == found
