"""Which releases of somaflow made the outputs of a study, and whether this one can use them.

Enters: the output folder. Leaves: a line for each file that cannot be read, and lines about other
releases and other versions of libraries. Reads stamps alone: no table, no label, no weights.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import somaflow
from somaflow.errors import SchemaError
from somaflow.paths import RunPaths
from somaflow.schema import (
    FIELDS,
    FIRST_RELEASE,
    INFERENCE,
    KINDS,
    REPORT,
    SHARD,
    STATE,
    TRAINING,
    Kind,
    check_stamp,
)
from somaflow.stamps import read_stamp
from somaflow.training import read_state_stamp

_WITH_LIBRARIES = {INFERENCE: "inference", TRAINING: "training"}


@dataclass(frozen=True)
class Origin:
    """Where the outputs of a study come from.

    Attributes:
        problems: a line for each file that this somaflow refuses.
        releases: those that wrote files, in order.
        libraries: a line for each library whose version was another one.
    """

    problems: tuple[str, ...]
    releases: tuple[str, ...]
    libraries: tuple[str, ...]

    def describe(self) -> list[str]:
        """Lines about other releases and libraries; none if all is of the present ones."""
        here, lines = somaflow.__version__, list(self.libraries)
        if set(self.releases) - {here}:
            use = "reads them" if not self.problems else f"cannot read {len(self.problems)} of them"
            made = ", ".join(self.releases)
            lines.insert(0, f"files by somaflow {made}; this is {here}, which {use}")
        return lines


def find_origin(paths: RunPaths) -> Origin:
    """Looks at every file of a study's outputs that has a version.

    A file that is damaged is passed over: who needs it finds that, and makes it again.
    """
    problems, releases = [], set()
    for kind, path in _find_files(paths.output):
        try:
            stamp = read_state_stamp(path) if kind is STATE else read_stamp(path)
        except (OSError, ValueError, RuntimeError):
            continue
        try:
            check_stamp(kind, path, stamp)
        except SchemaError as error:
            # A report is never read again; one of another layout stays as it is.
            problems += [] if kind is REPORT else [str(error)]
        if kind is not SHARD:  # says nothing of its release
            releases.add(str(stamp.get(FIELDS[1]) or FIRST_RELEASE))
    return Origin(tuple(problems), tuple(sorted(releases)), tuple(_compare_libraries(paths.output)))


def _find_files(output: Path) -> Iterator[tuple[Kind, Path]]:
    for kind in KINDS:
        for pattern in kind.places:
            for path in sorted(output.glob(pattern)):
                yield kind, path


def _compare_libraries(output: Path) -> Iterator[str]:
    """A line for each library and version that is not the installed one."""
    made: dict[tuple[str, str], dict[str, int]] = {}
    for kind, path in _find_files(output):
        if kind in _WITH_LIBRARIES:
            for name, number in _read_versions(path).items():
                counts = made.setdefault((name, str(number)), {})
                counts[_WITH_LIBRARIES[kind]] = counts.get(_WITH_LIBRARIES[kind], 0) + 1
    for (name, number), counts in sorted(made.items()):
        if name != FIELDS[1] and number != (here := _installed(name)):
            what = " and ".join(f"{count} {noun}(s)" for noun, count in sorted(counts.items()))
            yield (
                f"{name} {number} made {what}, here is {here}: run again, their flows make new "
                "ones beside them, which may differ"
            )


def _read_versions(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("versions", {})
    except (OSError, ValueError, AttributeError):  # damaged, as above
        return {}
    return found if isinstance(found, dict) else {}


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
