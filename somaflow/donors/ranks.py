"""Spearman's rho of features and traits, plain or partial, under any counts of donors.

Enters: complete columns, one value a donor, and counts that say how often each donor is there.
Leaves: rho of each feature and trait under each row of counts. Refuses: missing values, and
columns that differ in length.

One row of counts is a bootstrap resample, a leave-one-out sample or, all ones, the data. A column
is sorted once; under new counts its exact midranks are one pass over the sorted donors, and all
features meet all traits in one small matrix product. Doubled centred ranks are whole numbers, so
without covariates numerator and denominator are exact: resamples that equal the data give the very
rho of the data, as counting ties with it needs.

Partial: ranks of feature and trait are residualised on the intercept and the ranked covariates,
both as they are in the resample.
"""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from somaflow.errors import BadInputError

Floats = NDArray[np.float64]
# A residual below this share of its column's sum of squares is rounding: the covariates explain
# the column wholly.
TOLERANCE = 1e-12
# Rank passes (columns x donors x resamples) below which threads cost more than they save.
_SMALL_WORK = 300_000


def spearman(features: ArrayLike, traits: ArrayLike, covariates: ArrayLike | None = None) -> Floats:
    """Returns (F, T) Spearman's rho, as ``scipy.stats.spearmanr``; partial with covariates.

    Args:
        features: (F, n) numbers, a row a feature, a column a donor; none missing.
        traits: (T, n), the same donors in the same order.
        covariates: (K, n) or None. Constant or redundant ones change nothing.

    Returns:
        (F, T) float64, NaN where a column is constant or, with covariates, explained by them.

    Raises:
        BadInputError: if a value is missing or the columns do not fit each other.
    """
    n_donors = np.shape(features)[-1] if np.ndim(features) else 0
    return rho_of_counts(features, traits, covariates, np.ones((1, n_donors)))[0]


def rho_of_counts(
    features: ArrayLike, traits: ArrayLike, covariates: ArrayLike | None, counts: ArrayLike
) -> Floats:
    """Returns (B, F, T) Spearman's rho under each row of counts.

    Equal to ``spearmanr(x[index], y[index])`` with ``index = np.repeat(np.arange(n), counts[b])``.
    Runs on as many threads as numba may use (NUMBA_NUM_THREADS); the result does not depend on it.

    Args:
        features: (F, n) numbers, none missing.
        traits: (T, n).
        covariates: (K, n) or None.
        counts: (B, n) whole numbers >= 0, how often each donor is in the sample.

    Returns:
        (B, F, T) float64, NaN where a column is constant in the sample.

    Raises:
        BadInputError: if a value is missing or the columns do not fit each other.
    """
    blocks = [_check(values, name) for name, values in _named(features, traits, covariates)]
    weights = _check_counts(counts)
    lengths = [block.shape[1] for block in [*blocks, weights]]
    if len(set(lengths)) > 1:
        raise BadInputError(
            "features, traits, covariates and counts must hold the same donors, found "
            f"{', '.join(map(str, lengths))} columns; select the donors that all have"
        )
    columns = np.concatenate(blocks[::-1])
    order, last = _sort(columns)
    n_features, n_traits = len(blocks[0]), len(blocks[1])
    rho = np.empty((len(weights), n_features, n_traits))
    _run(order, last, len(columns) - n_features - n_traits, weights, rho)
    return rho


def _named(
    features: ArrayLike, traits: ArrayLike, covariates: ArrayLike | None
) -> list[tuple[str, ArrayLike]]:
    named = [("features", features), ("traits", traits)]
    return named if covariates is None else [*named, ("covariates", covariates)]


def _check(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not np.isfinite(array).all():
        found = f"shape {array.shape}" if array.ndim != 2 else "missing or infinite values"
        raise BadInputError(
            f"{name} must be (columns, donors) finite numbers, found {found}; "
            "select the donors with every value"
        )
    return array


def _check_counts(counts: ArrayLike) -> Floats:
    weights = _check(counts, "counts")
    bad = weights < 0
    # Shares would round, and a constant column would no longer be seen to be one.
    if np.asarray(counts).dtype.kind not in "iu":
        bad |= weights != np.rint(weights)
    if bad.any():
        raise BadInputError(
            f"counts must be whole numbers >= 0, found {weights[bad][0]}; say how often a donor is "
            "drawn"
        )
    return np.ascontiguousarray(weights)


def _sort(columns: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns the donors in order of each column, and whether each is the last of its ties."""
    order = np.argsort(columns, axis=1, kind="stable").astype(np.int64)
    values = np.take_along_axis(columns, order, axis=1)
    last = np.ones(columns.shape, dtype=np.bool_)
    last[:, :-1] = values[:, 1:] != values[:, :-1]
    return order, last


def _run(
    order: NDArray[np.int64],
    last: NDArray[np.bool_],
    n_covariates: int,
    weights: Floats,
    rho: Floats,
) -> None:
    """Fills `rho`, each thread its own resamples.

    Plain threads and a kernel without the GIL: numba's own parallel loops end the process when
    two threads of a Dask worker are in one, or when it forked after the first.
    """
    n_threads = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if n_threads == 1 or order.size * len(weights) < _SMALL_WORK:
        _fill_rho(order, last, n_covariates, weights, rho)
        return
    edges = np.linspace(0, len(weights), n_threads + 1).astype(int)
    with ThreadPoolExecutor(n_threads) as pool:
        parts = [
            pool.submit(_fill_rho, order, last, n_covariates, weights[start:stop], rho[start:stop])
            for start, stop in itertools.pairwise(edges)
        ]
    for part in parts:
        part.result()


# Sums may be taken in any order: a vector unit adds several donors at once. Ranks under whole
# counts stay exact all the same.
@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _fill_rho(
    order: NDArray[np.int64],
    last: NDArray[np.bool_],
    n_covariates: int,
    counts: Floats,
    rho: Floats,
) -> None:
    """Writes rho (B, F, T) of sorted columns: covariates, then traits, then features."""
    n_columns = len(order)
    ranks = np.empty(order.shape)
    squares = np.empty(n_columns)
    for draw in range(len(counts)):
        weights = counts[draw]
        for column in range(n_columns):
            _rank(order[column], last[column], weights, ranks[column])
        basis = ranks[: _orthonormalise(ranks[:n_covariates], weights)]
        for column in range(n_covariates, n_columns):
            squares[column] = _residualise(ranks[column], basis, weights)
        _multiply(ranks[n_covariates:], squares[n_covariates:], weights, rho[draw])


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _multiply(residuals: Floats, squares: Floats, weights: Floats, rho: Floats) -> None:
    """Writes rho (F, T) of residuals (T + F, n) and their sums of squares; spoils the residuals."""
    n_features, n_traits = rho.shape
    for trait in range(n_traits):
        y = residuals[trait]
        y *= weights
        for feature in range(n_features):
            x = residuals[n_traits + feature]
            product = 0.0
            for donor in range(len(y)):
                product += x[donor] * y[donor]
            square = squares[trait] * squares[n_traits + feature]
            if square > 0:
                rho[feature, trait] = min(1.0, max(-1.0, product / math.sqrt(square)))
            else:
                rho[feature, trait] = math.nan


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _orthonormalise(columns: Floats, weights: Floats) -> int:
    """Turns the first rows into an orthonormal basis of all of them; returns how many it has."""
    n_basis = 0
    for column in columns:
        basis = columns[:n_basis]
        whole = _product(column, column, weights)
        square = _residualise(column, basis, weights)
        # Where most was taken out, rounding has left some of it: once more.
        if 0 < square < whole / 4:
            square = _residualise(column, basis, weights)
        if square > 0:
            columns[n_basis] = column / math.sqrt(square)
            n_basis += 1
    return n_basis


@numba.njit(cache=True, nogil=True)
def _rank(
    order: NDArray[np.int64], last: NDArray[np.bool_], weights: Floats, ranks: Floats
) -> None:
    """Writes twice the centred midrank of each donor: (below + ties / 2 - total / 2) * 2."""
    total = 0.0
    for weight in weights:
        total += weight
    below, ties, start = 0.0, 0.0, 0
    for place in range(len(order)):
        ties += weights[order[place]]
        if last[place]:
            rank = 2 * below + ties - total
            for tied in range(start, place + 1):
                ranks[order[tied]] = rank
            below += ties
            ties, start = 0.0, place + 1


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _residualise(column: Floats, basis: Floats, weights: Floats) -> float:
    """Takes an orthonormal basis out of `column`; returns what is left of its sum of squares."""
    whole = _product(column, column, weights)
    for vector in basis:
        share = _product(column, vector, weights)
        for donor in range(len(column)):
            column[donor] -= share * vector[donor]
    if len(basis) == 0:
        return whole
    left = _product(column, column, weights)
    return left if left > TOLERANCE * whole else 0.0


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _product(x: Floats, y: Floats, weights: Floats) -> float:
    total = 0.0
    for donor in range(len(x)):
        total += weights[donor] * x[donor] * y[donor]
    return total
