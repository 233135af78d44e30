"""Regression models beside the rank correlations, through statsmodels.

Enters: donors or tiles with features, donors with traits. Leaves: a row a feature, trait and model.
Refuses: what `associate` refuses. A fit that fails, or that statsmodels warns of, is a row without
numbers that says so.

Models:
    ols: standardised feature on standardised trait and covariates, HC3 errors (Long & Ervin 2000,
        doi:10.1080/00031305.2000.10474549), Student's t. Estimate: SD of the feature an SD of the
        trait.
    ordinal: proportional odds of an ordinal trait on the standardised feature and covariates.
        Estimate: log odds of a higher grade an SD of the feature.
    gee: as ols with a row a tile, tiles of a donor exchangeable, robust errors (Liang & Zeger 1986,
        doi:10.1093/biomet/73.1.13). Robust errors are too small with few donors: a check of the
        donor-level result, not a second test.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from somaflow.donors.columns import Columns, align_donors, align_tiles, read_pairs
from somaflow.donors.estimates import MIN_DONORS
from somaflow.donors.fdr import adjust_p
from somaflow.donors.ranks import Floats
from somaflow.errors import BadInputError

KINDS = ("continuous", "ordinal", "binary", "category")
_COLUMNS = ["feature", "trait", "model", "n", "estimate", "low", "high", "p", "q", "status"]
_MIN_GRADES = 3
# Log odds an SD beyond which the feature tells grades apart without error: the likelihood grows
# for ever, and where the search stopped is no estimate.
_SEPARATED = 20.0
# A donor whose leverage is 1 has residual 0 whatever its value, and HC3 divides by 0.
_FULL_LEVERAGE = 1 - 1e-9
_HARMLESS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)


class _FitFailure(Exception):
    """A fit that gives no numbers; the message is its row's status."""


class _Fit(NamedTuple):
    estimate: float
    low: float
    high: float
    p: float


class _Sample(NamedTuple):
    """The complete rows of a pair."""

    x: Floats
    """(N,) feature, standardised over rows."""
    y: Floats
    """(N,) trait, standardised over donors."""
    z: Floats
    """(N, K) covariates, standardised over donors, none redundant."""
    grades: NDArray[np.int64]
    """(N,) 0, 1, ... of the trait's distinct values in order."""
    donors: NDArray[np.int64]
    """(N,) 0, 1, ... of the donors."""
    left_out: str
    """Covariates that are constant or redundant here, in words."""


def fit_models(
    donor_table: pd.DataFrame,
    trait_table: pd.DataFrame,
    features: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    covariates: Sequence[str] = (),
) -> pd.DataFrame:
    """Returns the models of each feature and trait: ols, and ordinal where the trait is.

    Args:
        donor_table: a row a donor, `donor` as text.
        trait_table: a row a donor, `donor` as text, with the covariates.
        features: columns of `donor_table`; None takes every column of numbers.
        traits: columns of `trait_table`; None takes every column of numbers but the covariates.
        kinds: continuous, ordinal, binary or category of each trait; continuous where not named.
        covariates: columns of `trait_table`; what is constant or redundant is left out and named.

    Returns:
        feature, trait, model, n (donors), estimate, low, high (95 %), p, q (within the model) and
        status: "", covariates that were left out, or why there are no numbers.

    Raises:
        BadInputError: as `associate`, or if a kind is unknown.
    """
    named = dict(kinds or {})
    unknown = [f"{trait}: {kind}" for trait, kind in named.items() if kind not in KINDS]
    if unknown:
        raise BadInputError(f"kinds must be {', '.join(KINDS)}, found {', '.join(unknown)}")
    donors, people = align_donors(donor_table, trait_table)
    x, y, z = read_pairs(donors, people, features, traits, covariates)
    models = []
    for j, trait in enumerate(y.names):
        kind = named.get(trait, "continuous")
        models.append(("ols", "ordinal") if kind == "ordinal" else ("ols",))
        if kind == "category":
            y.problems[j] = "is a category, not a scale"
    rows = [
        _fit_pair(model, donors.index, x.pick(i), y.pick(j), z)
        for i, j in np.ndindex(len(x.names), len(y.names))
        for model in models[j]
    ]
    return _finish(rows, _COLUMNS)


def fit_tiles(
    tile_table: pd.DataFrame,
    trait_table: pd.DataFrame,
    features: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    covariates: Sequence[str] = (),
) -> pd.DataFrame:
    """Returns the gee of each feature and trait on tiles.

    Args:
        tile_table: a row a tile, `donor` as text.
        trait_table: a row a donor, `donor` as text, with the covariates.
        features: columns of `tile_table`; None takes every column of numbers.
        traits: as `fit_models`.
        covariates: as `fit_models`.

    Returns:
        As `fit_models`, with n_tiles after n.

    Raises:
        BadInputError: as `associate`; a donor may have many tiles.
    """
    tiles, people = align_tiles(tile_table, trait_table)
    x, y, z = read_pairs(tiles, people, features, traits, covariates)
    rows = [
        _fit_pair("gee", tiles.index, x.pick(i), y.pick(j), z)
        for i, j in np.ndindex(len(x.names), len(y.names))
    ]
    return _finish(rows, [*_COLUMNS[:4], "n_tiles", *_COLUMNS[4:]])


def _finish(rows: list[dict[str, object]], columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[name for name in columns if name != "q"])
    table["q"] = adjust_p(table["p"].to_numpy(np.float64), list(table["model"]))
    return table[columns]


def _fit_pair(
    model: str, donors: pd.Index, feature: Columns, trait: Columns, covariates: Columns
) -> dict[str, object]:
    """Returns the row of one feature, trait and model, whatever happens."""
    x, y, z = feature.values[0], trait.values[0], covariates.values
    complete = ~(np.isnan(x) | np.isnan(y) | np.isnan(z).any(axis=0))
    codes, _ = pd.factorize(donors[complete])
    row: dict[str, object] = {
        "feature": feature.names[0],
        "trait": trait.names[0],
        "model": model,
        "n": len(np.unique(codes)),
        "n_tiles": int(complete.sum()),
    }
    try:
        for what, column in (("trait", trait), ("feature", feature)):
            if column.problems[0]:
                raise _FitFailure(f"{what} {column.problems[0]}")
        sample = _take(x[complete], y[complete], z[:, complete], codes, covariates.names)
        fit = _guard(_MODELS[model], sample)
    except _FitFailure as failure:
        return row | dict.fromkeys(_Fit._fields, np.nan) | {"status": str(failure)}
    return row | fit._asdict() | {"status": sample.left_out}


def _take(
    x: Floats, y: Floats, z: Floats, donors: NDArray[np.int64], names: Sequence[str]
) -> _Sample:
    n_donors, n_needed = len(np.unique(donors)), MIN_DONORS + len(z)
    if n_donors < n_needed:
        raise _FitFailure(f"{n_donors} donor{'s' if n_donors != 1 else ''}, {n_needed} needed")
    # A donor counts once in the mean and SD of what is a donor's, however many tiles it has.
    first = np.unique(donors, return_index=True)[1]
    design, notes = np.ones((len(x), 1)), []
    for name, column in zip(names, z, strict=True):
        scaled = _standardise(column, first)
        if scaled is None or not _adds(design, scaled):
            why = "is constant" if scaled is None else "repeats other covariates"
            notes.append(f"{name} {why}, left out")
        else:
            design = np.column_stack([design, scaled])
    feature, trait = _standardise(x, np.arange(len(x))), _standardise(y, first)
    if trait is None or feature is None:
        raise _FitFailure(f"{'trait' if trait is None else 'feature'} is constant")
    if not _adds(design, trait):
        raise _FitFailure("trait is explained by the covariates")
    grades = np.unique(y, return_inverse=True)[1]
    return _Sample(feature, trait, design[:, 1:], grades, donors, "; ".join(notes))


def _standardise(column: Floats, units: NDArray[np.int64]) -> Floats | None:
    """Returns the column in SD of the named rows; None where it is constant."""
    values = column[units]
    if (values == values[0]).all():
        return None
    return (column - values.mean()) / values.std(ddof=1)


def _adds(design: Floats, column: Floats) -> bool:
    """Whether a column is no combination of those before."""
    return bool(np.linalg.matrix_rank(np.column_stack([design, column])) > design.shape[1])


def _guard(model: Callable[[_Sample], _Fit], sample: _Sample) -> _Fit:
    """Runs a model; errors, warnings and numbers that are none become a `_FitFailure`."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = model(sample)
    except (ArithmeticError, RuntimeError, ValueError, np.linalg.LinAlgError) as error:
        raise _FitFailure(f"the fit failed: {_first_line(error)}") from error
    doubts = [item.message for item in caught if not issubclass(item.category, _HARMLESS)]
    if doubts:
        raise _FitFailure(f"the fit is in doubt: {_first_line(doubts[0])}")
    if not np.isfinite(fit).all():
        raise _FitFailure("the fit has no standard error")
    return fit


def _first_line(message: object) -> str:
    return (str(message).strip().splitlines() or [type(message).__name__])[0]


def _fit_ols(sample: _Sample) -> _Fit:
    from statsmodels.regression.linear_model import OLS

    design = _design(sample)
    basis, _ = np.linalg.qr(design)
    if (basis**2).sum(axis=1).max() > _FULL_LEVERAGE:
        raise _FitFailure("one donor alone sets a coefficient, so it has no HC3 error")
    # Position 1 is the trait, after the intercept.
    return _read(OLS(sample.x, design).fit(cov_type="HC3", use_t=True), 1)


def _fit_ordinal(sample: _Sample) -> _Fit:
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    n_grades = int(sample.grades.max()) + 1
    if n_grades < _MIN_GRADES:
        raise _FitFailure(f"{n_grades} grades, {_MIN_GRADES} needed")
    # No intercept: the cuts between grades take its place.
    design = np.column_stack([sample.x, sample.z])
    result = OrderedModel(sample.grades, design, distr=_logistic()).fit(
        method="bfgs", maxiter=500, disp=False
    )
    if abs(result.params[0]) > _SEPARATED:
        raise _FitFailure("the feature separates the grades, so the odds have no end")
    if not result.mle_retvals["converged"]:
        raise _FitFailure("the fit did not converge")
    return _read(result, 0)


@cache
def _logistic() -> Any:
    """Returns scipy's logistic distribution without the checks of its arguments.

    Numerical derivatives ask for a thousand probabilities a fit, and the checks are most of the
    time: minutes in a study.
    """
    from scipy import stats

    logistic = type(stats.logistic)(name="logistic")
    logistic.cdf = special.expit
    return logistic


def _fit_gee(sample: _Sample) -> _Fit:
    from statsmodels.genmod.cov_struct import Exchangeable
    from statsmodels.genmod.families import Gaussian
    from statsmodels.genmod.generalized_estimating_equations import GEE

    model = GEE(
        sample.x,
        _design(sample),
        groups=sample.donors,
        family=Gaussian(),
        cov_struct=Exchangeable(),
    )
    result = model.fit(cov_type="robust")
    if not result.converged:
        raise _FitFailure("the fit did not converge")
    return _read(result, 1)


def _design(sample: _Sample) -> Floats:
    return np.column_stack([np.ones(len(sample.y)), sample.y, sample.z])


# statsmodels has no types.
def _read(result: Any, position: int) -> _Fit:
    low, high = np.asarray(result.conf_int())[position]
    estimate, p = np.asarray(result.params)[position], np.asarray(result.pvalues)[position]
    return _Fit(float(estimate), float(low), float(high), float(p))


_MODELS: dict[str, Callable[[_Sample], _Fit]] = {
    "ols": _fit_ols,
    "ordinal": _fit_ordinal,
    "gee": _fit_gee,
}
