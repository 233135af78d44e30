"""How complete a study is: tiles expected, found, segmented and usable, and traits, by donor."""

from somaflow.coverage.audit import Coverage, audit_coverage
from somaflow.coverage.gaps import UNKNOWN
from somaflow.coverage.reading import read_coverage, read_expected, tabulate_records

__all__ = [
    "UNKNOWN",
    "Coverage",
    "audit_coverage",
    "read_coverage",
    "read_expected",
    "tabulate_records",
]
