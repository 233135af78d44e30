"""Associations of donor features with donor traits: Spearman's rho, its interval, p and q.

Enters: a wide donor table, a trait table, and which columns of them. Leaves: a row a feature and
trait. Refuses: tables whose donors do not fit, and covariates that are no numbers. What cannot be
estimated is a row without numbers that says why.

The unit is the donor. A pair of columns uses the donors that have both, and every covariate; pairs
with the same donors share their resamples.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from somaflow.donors.columns import align_donors, read_pairs
from somaflow.donors.estimates import Draws, Estimates, estimate
from somaflow.donors.fdr import adjust_p
from somaflow.errors import BadInputError


def associate(
    donor_table: pd.DataFrame,
    trait_table: pd.DataFrame,
    *,
    features: Sequence[str] | None = None,
    traits: Sequence[str] | None = None,
    covariates: Sequence[str] = (),
    n_resamples: int = 10_000,
    seed: int = 0,
    families: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Returns Spearman's rho of each feature and trait, with its 95 % interval, p and q.

    Donors are matched by id. rho and its two-sided p (t approximation) are scipy's; the interval is
    a BCa bootstrap of donors; q is Benjamini-Hochberg's within a family. Partial rho: ranks are
    residualised on the intercept and the ranked covariates, and p loses a degree of freedom a
    covariate.

    Args:
        donor_table: a row a donor, `donor` as text.
        trait_table: a row a donor, `donor` as text, with the covariates.
        features: columns of `donor_table`; None takes every column of numbers.
        traits: columns of `trait_table`; None takes every column of numbers but the covariates.
        covariates: columns of `trait_table`; what is constant or redundant is left out and named.
        n_resamples: bootstrap resamples, >= 1.
        seed: of the resamples; equal seeds and donors give equal resamples.
        families: family of each feature, over all traits; None is one family.

    Returns:
        A row a feature and trait, features first: feature, trait, n (donors), rho, rho_low,
        rho_high, p, q, status ("" or why there is no rho); with covariates also partial_n,
        partial_rho, partial_rho_low, partial_rho_high, partial_p, partial_q and partial_status,
        which also names covariates that were left out. NaN p are no tests of their family.

    Raises:
        BadInputError: if the tables do not fit each other, a column is not there, a covariate is no
            number, a feature has no family, or `n_resamples` is no whole number >= 1.
    """
    draws = Draws(n_resamples, seed)
    donors, people = align_donors(donor_table, trait_table)
    x, y, others = read_pairs(donors, people, features, traits, covariates)
    family = _families(x.names, len(y.names), families)
    pairs = [(feature, trait) for feature in x.names for trait in y.names]
    table = pd.DataFrame(pairs, columns=["feature", "trait"], dtype="str")
    table = table.assign(**_columns(estimate(x, y, None, draws), family, ""))
    if others.names:
        table = table.assign(**_columns(estimate(x, y, others, draws), family, "partial_"))
    return table


def _columns(table: Estimates, family: list[str], prefix: str) -> dict[str, np.ndarray]:
    """The columns of the estimates, a row a pair; rho's interval beside it."""
    p = table.p.ravel()
    rho = {"rho": table.rho, "rho_low": table.rho_low, "rho_high": table.rho_high}
    columns = {"n": table.n.ravel()} | {name: values.ravel() for name, values in rho.items()}
    columns |= {"p": p, "q": adjust_p(p, family), "status": table.status.ravel().astype(str)}
    return {f"{prefix}{name}": values for name, values in columns.items()}


def _families(
    features: Sequence[str], n_traits: int, families: Mapping[str, str] | None
) -> list[str]:
    """The family of each pair."""
    if families is None:
        families = dict.fromkeys(features, "all")
    without = [feature for feature in features if feature not in families]
    if without:
        raise BadInputError(
            f"families must name the family of every feature, not found: {', '.join(without)}"
        )
    return [families[feature] for feature in features for _ in range(n_traits)]
