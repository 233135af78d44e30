"""Whether conclusions hold better with one segmentation than with another, on the same donors.

Enters: wide donor tables of a baseline and a fine-tuned segmentation with the same column names,
the traits, and where there are any the tile values behind them. Leaves: a row a column and trait,
and a tidy table over phenotype thresholds. Refuses: tables without a column or donor in common.

A rho can be firm in two ways. Over donors: would other donors give it? Over tiles: would other
tiles of the same donors? Both are told as variance, consistency of sign and share of resamples with
q < .05. The variance of a rho falls as rho grows, whoever segmented; so a stronger association is
also a more stable one, and the other way round.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from somaflow.donors.columns import align_donors, read_columns
from somaflow.donors.discoveries import share_found
from somaflow.donors.estimates import Draws
from somaflow.donors.pairs import Pair, describe_resamples
from somaflow.donors.ranks import Floats
from somaflow.donors.tile_stability import MEASURES, Redraws, TileValues, describe_tiles
from somaflow.errors import BadInputError

SEGMENTATIONS = ("baseline", "fine_tuned")
_KEYS = ("marker", "region", "phenotype", "feature")
_LAST_PHENOTYPES = ("otsu", "mixture")


def compare_stability(
    baseline: pd.DataFrame,
    fine_tuned: pd.DataFrame,
    traits: pd.DataFrame,
    *,
    columns: pd.DataFrame | None = None,
    trait_names: Sequence[str] | None = None,
    covariates: Sequence[str] = (),
    primary: Sequence[str] | None = None,
    tiles: Sequence[TileValues] = (),
    n_resamples: int = 10_000,
    n_tile_resamples: int = 200,
    tile_share: float = 0.8,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns rho of two segmentations side by side, and how firm each is.

    All is paired: the same donors (those that both have), the same resamples, the same redraws of
    tiles. rho and its interval are those of `associate` on these donors; with covariates, partial.

    Args:
        baseline: a row a donor, `donor` as text and a column of numbers a feature.
        fine_tuned: the same columns from the other segmentation.
        traits: a row a donor, `donor` as text, traits and covariates as numbers.
        columns: a row a column to compare, `column` and what it is (marker, region, phenotype,
            feature ...); None compares all columns of numbers of `baseline`.
        trait_names: columns of `traits`; None takes all columns of numbers but the covariates.
        covariates: columns of `traits`, ranked and taken out of both sides.
        primary: columns of the primary family; the others are the exploratory one. None puts all in
            one family, "all". q is within family and segmentation, over all traits.
        tiles: tile values; columns that are in none have NaN in what is said of tiles.
        n_resamples: bootstrap resamples of donors.
        n_tile_resamples: redraws of tiles within donors.
        tile_share: of a donor's tiles in a redraw, without replacement.
        seed: of donors and of tiles.

    Returns:
        A row a column and trait: column, the columns of `columns`, trait, family, n; of either
        segmentation rho_<s>, rho_<s>_low, rho_<s>_high, then donor_variance_<s>,
        donor_sign_consistency_<s> (share of resamples with the sign of rho_<s>),
        donor_found_share_<s> (share with q < .05, p by the t approximation at n) and the same three
        with tile_; abs_rho_difference (fine-tuned minus baseline, of |rho|) with _low and _high;
        donor_variance_ratio (fine-tuned / baseline) with _low and _high; tile_variance_ratio;
        strength: "stronger", "weaker" or "not conclusive" (the interval of the difference contains
        0); verdict: "more stable", "less stable" or "not conclusive" (the interval of the ratio
        contains 1); both "not estimated" where there is no interval.

    Raises:
        BadInputError: if the tables do not fit each other, or a column is not there.
    """
    names, about = _choose_columns(baseline, fine_tuned, columns)
    pair, donors, trait_list = _read_pair(
        baseline, fine_tuned, traits, names, trait_names, covariates
    )
    family_names, families = _name_families(names, primary)
    draws = Draws(n_resamples, seed)
    found = describe_resamples(pair, draws)
    found["found_share"] = share_found(pair, draws, families)
    redraws = Redraws(tiles, tile_share, n_tile_resamples, seed)
    of_tiles = describe_tiles(pair, found["rho"], redraws, names, donors, families)
    table = about.loc[np.repeat(np.arange(len(names)), len(trait_list))].reset_index(drop=True)
    table["trait"] = trait_list * len(names)
    table["family"] = np.repeat(np.array(family_names, dtype=object), len(trait_list))
    return pd.concat([table, _lay_out(found, of_tiles)], axis=1)


def _choose_columns(
    baseline: pd.DataFrame, fine_tuned: pd.DataFrame, columns: pd.DataFrame | None
) -> tuple[list[str], pd.DataFrame]:
    if columns is None:
        columns = pd.DataFrame({"column": read_columns(baseline, None, "baseline").names})
    if "column" not in columns or columns.empty or columns["column"].duplicated().any():
        raise BadInputError(
            "columns must have a column `column` that names each column once, got "
            f"{', '.join(map(str, columns)) or 'nothing'} in {len(columns)} rows"
        )
    names = [str(name) for name in columns["column"]]
    for table, of in ((baseline, "baseline"), (fine_tuned, "fine_tuned")):
        missing = [name for name in names if name not in table]
        if missing:
            raise BadInputError(
                f"{of} must have every column to compare, not found: {', '.join(missing[:5])}; "
                "take the recipe out of the names of both tables"
            )
    return names, columns.reset_index(drop=True)


def _read_pair(
    baseline: pd.DataFrame,
    fine_tuned: pd.DataFrame,
    traits: pd.DataFrame,
    names: list[str],
    trait_names: Sequence[str] | None,
    covariates: Sequence[str],
) -> tuple[Pair, list[str], list[str]]:
    """The pair, its donors, and the names of its traits."""
    first, second = align_donors(baseline, fine_tuned)
    first, people = align_donors(first.reset_index(), traits)
    second = second.loc[first.index]
    others = read_columns(people, covariates, "covariates")
    rest = people.drop(columns=others.names) if trait_names is None else people
    read = read_columns(rest, trait_names, "trait_names")
    values = np.stack([read_columns(table, names, "columns").values for table in (first, second)])
    values[:, np.isnan(values).any(axis=0)] = np.nan
    known = ~np.isnan(others.values).any(axis=0)
    trait_values = np.where(known, read.values, np.nan)
    pair = Pair(values, trait_values, others.values if others.names else None)
    return pair, [str(donor) for donor in first.index], read.names


def _name_families(
    names: list[str], primary: Sequence[str] | None
) -> tuple[list[str], NDArray[np.int64]]:
    if primary is None:
        return ["all"] * len(names), np.zeros(len(names), dtype=np.int64)
    unknown = sorted(set(primary) - set(names))
    if unknown:
        raise BadInputError(
            f"primary must name columns that are compared, not found: {', '.join(unknown[:5])}"
        )
    is_primary = np.isin(names, list(primary))
    words = ["primary" if one else "exploratory" for one in is_primary]
    return words, (~is_primary).astype(np.int64)


def _lay_out(found: dict[str, Floats], of_tiles: dict[str, Floats]) -> pd.DataFrame:
    table: dict[str, object] = {"n": found["n"].ravel().astype(int)}
    for place, name in enumerate(SEGMENTATIONS):
        for end in ("", "_low", "_high"):
            table[f"rho_{name}{end}"] = found[f"rho{end}"][place].ravel()
    for unit, source in (("donor", found), ("tile", of_tiles)):
        for measure in MEASURES:
            for place, name in enumerate(SEGMENTATIONS):
                table[f"{unit}_{measure}_{name}"] = source[measure][place].ravel()
    for end in ("", "_low", "_high"):
        table[f"abs_rho_difference{end}"] = found[f"difference{end}"].ravel()
    for end in ("", "_low", "_high"):
        table[f"donor_variance_ratio{end}"] = found[f"ratio{end}"].ravel()
    before, after = of_tiles["variance"]
    ratio = np.divide(after, before, out=np.full(before.shape, np.nan), where=before > 0)
    table["tile_variance_ratio"] = ratio.ravel()
    table["strength"] = _judge(
        found["difference_low"], found["difference_high"], 0.0, ("weaker", "stronger")
    )
    # A larger variance is less stable.
    table["verdict"] = _judge(
        found["ratio_low"], found["ratio_high"], 1.0, ("more stable", "less stable")
    )
    return pd.DataFrame(table)


def _judge(low: Floats, high: Floats, equal: float, words: tuple[str, str]) -> NDArray[np.object_]:
    """Words for intervals below and above `equal`; "not conclusive" for those that contain it."""
    below, above = words
    verdict = np.select([high < equal, low > equal], [below, above], "not conclusive")
    return np.where(np.isnan(low) | np.isnan(high), "not estimated", verdict).astype(object).ravel()


def stability_by_threshold(stability: pd.DataFrame) -> pd.DataFrame:
    """Returns how each measure moves with the phenotype threshold, one value a row, for figures.

    Args:
        stability: of `compare_stability`, with marker, region, phenotype and feature.

    Returns:
        Rows in the order of marker, region, feature, trait and threshold: marker, region, feature,
        trait, phenotype (an ordered category: percentiles ascending, otsu, mixture, others by
        name), measure, segmentation ("baseline", "fine_tuned" or "difference"), value, low, high.
        Rows of phenotype "any" depend on no threshold and are left out. low and high are NaN where
        a measure has no interval.

    Raises:
        BadInputError: if the table does not say marker, region, phenotype and feature.
    """
    missing = [key for key in _KEYS if key not in stability]
    if missing:
        raise BadInputError(
            f"stability must say {', '.join(missing)} of each row; give compare_stability a "
            "`columns` table that does"
        )
    rows = stability[stability["phenotype"] != "any"]
    keys = ["marker", "region", "feature", "trait", "phenotype"]
    parts = [
        rows[keys].assign(
            measure=measure,
            segmentation=segmentation,
            value=rows[name],
            low=rows.get(f"{name}_low", np.nan),
            high=rows.get(f"{name}_high", np.nan),
        )
        for measure, segmentation, name in _measure_columns()
    ]
    long = pd.concat(parts, ignore_index=True)
    order = sorted(long["phenotype"].unique(), key=_threshold_order)
    long["phenotype"] = pd.Categorical(long["phenotype"], categories=order, ordered=True)
    for key in ("marker", "region", "feature", "trait"):
        long[key] = pd.Categorical(long[key], categories=list(dict.fromkeys(rows[key])))
    long = long.sort_values(keys, kind="stable", ignore_index=True)
    return long.astype(dict.fromkeys(("marker", "region", "feature", "trait"), object))


def _measure_columns() -> list[tuple[str, str, str]]:
    measures = ["rho", *[f"{unit}_{name}" for unit in ("donor", "tile") for name in MEASURES]]
    named = [(name, one, f"{name}_{one}") for name in measures for one in SEGMENTATIONS]
    return [
        *named,
        ("abs_rho", "difference", "abs_rho_difference"),
        ("donor_variance_ratio", "difference", "donor_variance_ratio"),
        ("tile_variance_ratio", "difference", "tile_variance_ratio"),
    ]


def _threshold_order(phenotype: str) -> tuple[int, float, str]:
    """Percentiles by number, then otsu and mixture, then what else there is."""
    if phenotype[:1] == "p" and phenotype[1:].replace(".", "", 1).isdigit():
        return 0, float(phenotype[1:]), ""
    if phenotype in _LAST_PHENOTYPES:
        return 1, float(_LAST_PHENOTYPES.index(phenotype)), ""
    return 2, 0.0, phenotype
