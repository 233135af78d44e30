"""The service's command line: `python -m infra.service up | down | status | backup | restore`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.service import control
from infra.service.backup import back_up, restore
from infra.service.home import Home
from infra.service.settings import REPOSITORY
from somaflow.errors import SomaflowError


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what is asked; returns 0, or 1 after one clear line on standard error."""
    default = os.environ.get("SOMAFLOW_SERVICE", REPOSITORY / "service")
    parser = argparse.ArgumentParser(prog="python -m infra.service", description=__doc__)
    parser.add_argument("do", choices=["up", "down", "status", "backup", "restore"])
    parser.add_argument("file", type=Path, nargs="?", help="of backup and restore")
    parser.add_argument("--home", type=Path, default=default, help=f"its folder; {default}")
    parser.add_argument("--host", help="address to listen at; before what service.yaml says")
    parser.add_argument("--port", type=int, help="likewise")
    parser.add_argument(
        "--password", action="store_true", help="ask for a password, also on loopback"
    )
    parser.add_argument("--force", action="store_true", help="restore over what is there")
    parser.add_argument(
        "--foreground", action="store_true", help="up: run here and not beside, for systemd"
    )
    options = parser.parse_args(arguments)
    if options.file is None and options.do in ("backup", "restore"):
        parser.error(f"{options.do} needs the name of a file")
    os.umask(0o077)
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    home = Home(options.home.expanduser().resolve())
    try:
        return _do(options, home)
    except SomaflowError as error:
        print(f"service: {error}", file=sys.stderr)
        return 1


def _do(options: argparse.Namespace, home: Home) -> int:
    if options.do == "down":
        control.down(home)
        return 0
    if options.do == "status":
        return 0 if control.status(home) else 1
    if options.do == "backup":
        print(back_up(home, options.file))
        return 0
    if options.do == "restore":
        print(restore(home, options.file, options.force))
        return 0
    settings = control.prepare(home, options.host, options.port, options.password)
    if options.foreground:
        control.serve(home, settings)
    else:
        control.up(home, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
