"""False discovery rate within declared families of tests.

Enters: p-values and the family each belongs to. Leaves: q-values of Benjamini and Hochberg 1995
(doi:10.1111/j.2517-6161.1995.tb02031.x). Undefined p-values stay undefined and are no tests.
"""

from collections.abc import Sequence

import numpy as np

from somaflow.donors.ranks import Floats
from somaflow.errors import BadInputError


def adjust_p(p: Floats, families: Sequence[str] | None = None) -> Floats:
    """Returns the q-value of each test among the tests of its family.

    Args:
        p: (P,) float64 in [0, 1] or NaN.
        families: P names; None is one family.

    Returns:
        (P,) float64, NaN where p is.

    Raises:
        BadInputError: if a p lies outside [0, 1], or there are not as many families as p.
    """
    from scipy import stats

    values = np.asarray(p, dtype=np.float64)
    names = np.array(["all"] * len(values) if families is None else list(families), dtype=object)
    _check(values, names)
    q = np.full(len(values), np.nan)
    for family in dict.fromkeys(names):
        tests = (names == family) & ~np.isnan(values)
        if tests.any():
            q[tests] = stats.false_discovery_control(values[tests], method="bh")
    return q


def _check(values: Floats, names: np.ndarray) -> None:
    if len(values) != len(names):
        raise BadInputError(
            f"families must name one family a test, got {len(names)} for {len(values)} tests"
        )
    outside = values[(values < 0) | (values > 1)]
    if outside.size:
        raise BadInputError(f"p must lie between 0 and 1, found {outside[0]}; pass p-values")
