"""What a number of donors can show: smallest significant rho, power, and loss to unreliable values.

Enters: number of donors, rho, level, reliability. Leaves: numbers, or the sentence a report says.
Refuses: too few donors, a rho outside (-1, 1), shares outside (0, 1).

A rho is called significant by the t approximation, as in `associate`. Its power comes from Fisher's
z with the variance (1 + rho^2 / 2) / (n - 3) of Bonett & Wright (doi:10.1007/BF02294183).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from somaflow.errors import BadInputError

_MIN_DONORS = 5
_HIGHEST_RHO = 0.99
_USUAL_POWER = 0.8


def find_smallest_significant_rho(n: int, alpha: float = 0.05, n_covariates: int = 0) -> float:
    """Returns the |rho| whose two-sided p is exactly `alpha` by the t approximation.

    Args:
        n: number of donors.
        alpha: level of the test, in (0, 1).
        n_covariates: covariates taken out (partial rho); each costs a degree of freedom.

    Raises:
        BadInputError: if fewer than 5 donors remain after the covariates, or `alpha` is no share.
    """
    _check_donors(n - n_covariates, "n - n_covariates")
    _check_shares(alpha, "alpha")
    degrees = n - 2 - n_covariates
    t = special.stdtrit(degrees, 1 - alpha / 2)
    return float(t / np.sqrt(degrees + t * t))


def find_power(
    rho: ArrayLike, n: int, alpha: float = 0.05, n_covariates: int = 0
) -> NDArray[np.float64]:
    """Returns the chance that a true rho is found significant, in either direction.

    Args:
        rho: any shape, the true Spearman rho, in (-1, 1).
        n: number of donors.
        alpha: level of the test, in (0, 1).
        n_covariates: covariates taken out (partial rho).

    Returns:
        float64 of the shape of `rho`; about `alpha` at rho 0.

    Raises:
        BadInputError: as `find_smallest_significant_rho`, or if a rho lies outside (-1, 1).
    """
    true = np.asarray(rho, dtype=np.float64)
    if not (np.abs(true) < 1).all():
        raise BadInputError(f"rho must lie between -1 and 1, got {rho!r}")
    limit = np.arctanh(find_smallest_significant_rho(n, alpha, n_covariates))
    spread = np.sqrt((1 + true**2 / 2) / (n - n_covariates - 3))
    z = np.arctanh(true)
    return np.asarray(special.ndtr((z - limit) / spread) + special.ndtr((-z - limit) / spread))


def find_detectable_rho(
    n: int, power: float = _USUAL_POWER, alpha: float = 0.05, n_covariates: int = 0
) -> float:
    """Returns the smallest true |rho| that is found with the given power.

    Raises:
        BadInputError: as `find_power`, or if `power` does not lie between `alpha` and 1.
    """
    lowest, highest = find_power([0.0, _HIGHEST_RHO], n, alpha, n_covariates)
    if not lowest < power < highest:
        raise BadInputError(
            f"power must lie between {lowest:.3g} (no association) and {highest:.3g} for {n} "
            f"donors, got {power!r}"
        )

    def lacking(rho: float) -> float:
        return float(find_power(rho, n, alpha, n_covariates)) - power

    return float(optimize.brentq(lacking, 0.0, _HIGHEST_RHO))


def attenuate(rho: ArrayLike, reliability: ArrayLike) -> NDArray[np.float64]:
    """Returns the rho that is seen when donors' values have the given reliability.

    rho_seen = rho_true sqrt(reliability), Spearman 1904 (doi:10.2307/1412159); exact for Pearson's
    r, close for ranks. The trait's own reliability would come in the same way.

    Args:
        rho: the rho of error-free donor values.
        reliability: in [0, 1], for example split-half, stepped up. Broadcasts with `rho`.

    Raises:
        BadInputError: if a reliability lies outside [0, 1].
    """
    share = np.asarray(reliability, dtype=np.float64)
    if not ((share >= 0) & (share <= 1)).all():
        raise BadInputError(
            f"reliability must lie in [0, 1], got {reliability!r}; a negative one means that "
            "halves of the tiles do not agree at all: use 0"
        )
    return np.asarray(np.asarray(rho, dtype=np.float64) * np.sqrt(share))


def describe_power(n: int, n_tests: int = 1, n_covariates: int = 0) -> str:
    """Returns what `n` donors can show, in words for a report.

    Args:
        n: number of donors.
        n_tests: size of the family whose false discovery rate is held at 5 %.
        n_covariates: covariates taken out (partial rho).

    Raises:
        BadInputError: as `find_smallest_significant_rho`, or if `n_tests` is below 1.
    """
    if n_tests < 1:
        raise BadInputError(f"n_tests must be at least 1, got {n_tests!r}")
    taken_out = f" and {n_covariates} covariates taken out" if n_covariates else ""
    sentences = [f"With {n} donors{taken_out}, " + _describe_level(n, 0.05, n_covariates)]
    if n_tests > 1:
        sentences.append(
            f"Among {n_tests} tests at a false discovery rate of 5 %, an association that is "
            f"alone must reach p < {0.05 / n_tests:.2g}: "
            + _describe_level(n, 0.05 / n_tests, n_covariates)
        )
    return " ".join(sentences)


def _describe_level(n: int, alpha: float, n_covariates: int) -> str:
    smallest = find_smallest_significant_rho(n, alpha, n_covariates)
    level = f"|rho| of {smallest:.2f} or more is p < {alpha:.2g}; "
    # A handful of donors and many tests: not even a rho of .99 will do.
    if find_power(_HIGHEST_RHO, n, alpha, n_covariates) <= _USUAL_POWER:
        return level + "no true |rho| is found with 80 % power."
    detectable = find_detectable_rho(n, _USUAL_POWER, alpha, n_covariates)
    return (
        f"{level}a true |rho| of {detectable:.2f} is found with 80 % power, a smaller one less "
        "often."
    )


def _check_donors(n: int, name: str) -> None:
    if n < _MIN_DONORS:
        raise BadInputError(f"{name} must be at least {_MIN_DONORS} donors, got {n!r}")


def _check_shares(share: float, name: str) -> None:
    if not 0 < share < 1:
        raise BadInputError(f"{name} must lie between 0 and 1, got {share!r}")
