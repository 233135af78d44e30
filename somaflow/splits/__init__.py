"""Who trains, who chooses, who tests: donors (or, asked for, images) over train, val and test.

Enters: the table of labelled tiles. Leaves: `Splits`, the file ``splits.yaml``, and an audit of
what leaks from one split into another. Refused: tiles without a donor, unless image-level splits
are asked for by name.
"""

from somaflow.splits.assign import SPLIT_NAMES, split_donors, split_images
from somaflow.splits.audit import FINDING_COLUMNS, audit_leakage, refuse_leakage
from somaflow.splits.record import (
    Splits,
    describe_balance,
    format_splits,
    load_splits,
    make_splits,
    save_splits,
)

__all__ = [
    "FINDING_COLUMNS",
    "SPLIT_NAMES",
    "Splits",
    "audit_leakage",
    "describe_balance",
    "format_splits",
    "load_splits",
    "make_splits",
    "refuse_leakage",
    "save_splits",
    "split_donors",
    "split_images",
]
