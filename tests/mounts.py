"""Runs a command with a small, full or read-only file system of its own (Linux)."""

import os
import subprocess
from pathlib import Path

import pytest


def with_mount(place: Path, options: str, then: str = "true") -> list[str]:
    """Words to put before a command, so that it sees a tmpfs at `place` that nobody else sees.

    Skips the test where mounts are not allowed: without root that needs user namespaces.

    Args:
        place: an empty folder.
        options: of the tmpfs, such as `size=400k` or `ro`.
        then: shell command to run after mounting, before the command.
    """
    script = f'mount -t tmpfs -o {options} none {place} && {then} && exec "$@"'
    namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    command = ["unshare", *namespaces, "sh", "-c", script, "sh"]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"a file system cannot be mounted here: {probe.stderr.strip()}")
    return command
