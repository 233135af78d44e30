"""Simulates donors whose truth is known and writes how well the donor statistics find it.

`python -m tests.calibration --out docs/calibration.md`. Fails, after writing, if a line is out of
its range.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from somaflow.files import write_text
from tests.bench.machine import describe_machine
from tests.calibration.associations import (
    Size,
    check_discoveries,
    check_intervals,
    check_power,
)
from tests.calibration.lines import Line
from tests.calibration.page import write_page
from tests.calibration.segmentations import check_agreement, check_differences, check_variances

CHECKS = (
    check_intervals,
    check_discoveries,
    check_power,
    check_agreement,
    check_differences,
    check_variances,
)


def run_checks(size: Size) -> list[Line]:
    """Returns the lines of all parts, and prints each part's seconds."""
    lines: list[Line] = []
    for check in CHECKS:
        start_s = time.monotonic()
        lines += check(size)
        print(f"{check.__name__}: {time.monotonic() - start_s:.0f} s", flush=True)
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line, simulates and writes the page; returns 1 if a line fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    size = Size(options.simulations, options.resamples, options.seed)
    start_s = time.monotonic()
    lines = run_checks(size)
    day = datetime.now(UTC).date().isoformat()
    page = write_page(lines, size, describe_machine(), day, time.monotonic() - start_s)
    write_text(options.out, page)
    failing = [line for line in lines if line.has_range and not line.holds]
    for line in failing:
        print(f"FAILS: {line.part}, {line.what}: {line.tell(line.value)}", file=sys.stderr)
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
