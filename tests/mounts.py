"""Runs a command with a small, full or read-only file system of its own (Linux)."""

import os
import subprocess
from pathlib import Path

import pytest

_UNSHARE = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]


def with_mount(place: Path, options: str, then: str = "true") -> list[str]:
    """Words to put before a command, so that it sees a tmpfs at `place` that nobody else sees.

    Skips the test where mounts are not allowed (without root that needs user namespaces); in CI
    that is a failure.

    Args:
        place: an empty folder.
        options: of the tmpfs, such as `size=400k` or `ro`.
        then: shell command to run after mounting, before the command.
    """
    script = f'mount -t tmpfs -o {options} none {place} && {then} && exec "$@"'
    return _tried([*_UNSHARE, "sh", "-c", script, "sh"], "true")


def own_mounts() -> list[str]:
    """Words to put before a command, so that nobody else sees what it mounts.

    Skips the test where mounts are not allowed, as above.
    """
    return _tried(_UNSHARE, "sh", "-c", "mount -t tmpfs none /mnt")


def _tried(command: list[str], *probe: str) -> list[str]:
    done = subprocess.run([*command, *probe], capture_output=True, text=True, check=False)
    if done.returncode:
        missing = f"a file system cannot be mounted here: {done.stderr.strip()}"
        if os.environ.get("SOMAFLOW_TEST_MOUNTS") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    return command
