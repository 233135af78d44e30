"""Everything that is said of donors, from tile features and traits to stability.

Enters: tile features of one or more recipes, tile quality, traits. Leaves: tables by name, and a
line for each thing that could not be done. Refuses nothing: what one part lacks does not keep the
others from being made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from somaflow.donors.associations import associate
from somaflow.donors.contrasts import (
    PRIMARY,
    WHAT,
    can_compare,
    compare_with_baseline,
    measure_agreement,
    measure_reliability,
    name_places,
    usable_tiles,
)
from somaflow.donors.fits import fit_models, fit_tiles
from somaflow.donors.power import describe_power
from somaflow.donors.tables import ALL_REGIONS, tabulate_donors, widen
from somaflow.donors.tile_features import ANY, SEPARATOR, in_micrometres
from somaflow.errors import SomaflowError
from somaflow.settings import DonorStatistics
from somaflow.traits import Traits, match_donors
from somaflow.traits.wording import shorten

EXPLORATORY = "exploratory"
_PRIMARY_ANY = ("density_per_mpx", "area_fraction")
_PRIMARY_POSITIVE = ("positive_fraction",)
_MOST_ALIKE = 2 / 3
_MIN_DONORS = 5
"""Below, power has no approximation."""


@dataclass
class Analysis:
    """What was found, as far as it could be."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """By name; a table that could not be made is not there."""
    problems: list[str] = field(default_factory=list)
    """A line for each thing to look into."""
    power: str = ""
    """What so many donors can show, in words."""

    def append(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Adds rows to tables, which need not be there yet."""
        for name, rows in tables.items():
            parts = [self.tables[name], rows] if name in self.tables else [rows]
            self.tables[name] = pd.concat(parts, ignore_index=True)

    def add_mixtures(self, mixtures: pd.DataFrame) -> None:
        """Adds mixtures of dim and bright cells by recipe, and where there are none."""
        if mixtures.empty:
            return
        self.tables["mixtures"] = mixtures
        for recipe, rows in mixtures.groupby("recipe", sort=False):
            words = [
                f"{marker} {int(own.is_separated.sum())} of {len(own)}"
                for marker, own in rows.groupby("marker")
                if not own.is_separated.all()
            ]
            if words:
                self.problems.append(
                    f"{recipe}: bright cells stand apart in some donors alone "
                    f"({', '.join(words)}); the phenotype mixture says nothing of the others"
                )


def analyse_donors(
    features: Mapping[str, pd.DataFrame],
    quality: pd.DataFrame,
    traits: Traits | None,
    settings: DonorStatistics,
    seed: int,
) -> Analysis:
    """Donor tables, associations with traits, and how the first recipe compares with the others.

    Args:
        features: tile features by recipe, from `measure_tile_features`; the one that is relied on
            comes first, the others are compared with it.
        quality: of all tiles, from `judge_tiles`.
        traits: None where there is no trait table; donors are still tabulated.
        settings: which phenotypes, traits, covariates and how many resamples.
        seed: of all draws.

    Returns:
        Tables: donors, columns (what each column of the statistics is), agreement, reliability;
        with traits also traits, trait-columns, associations, fits, tile-fits, stability, rankings.
    """
    analysis = Analysis()
    features = {name: _of_known_donors(analysis, name, table) for name, table in features.items()}
    donors = pd.concat(
        [
            tabulate_donors(table, quality, recipe, settings.min_tiles)
            for recipe, table in features.items()
        ],
        ignore_index=True,
    )
    analysis.tables["donors"] = donors
    analysis.problems += _describe_flags(donors)
    wide, columns = _drop_degenerate(analysis, *widen(donors))
    columns["family"] = _families(columns, settings)
    analysis.tables["columns"] = columns
    main, *others = features
    analysis.tables["reliability"] = measure_reliability(features, quality, columns, seed)
    comparable = [other for other in others if can_compare(columns, main, other)]
    analysis.problems += [
        f"{main} and {other} have no feature of donors in common and are not compared"
        for other in others
        if other not in comparable
    ]
    for other in comparable:
        analysis.append({"agreement": measure_agreement(wide, columns, main, other)})
    if traits is None:
        return analysis
    table = _prepare_traits(analysis, wide, traits)
    names = [name for name in settings.traits if name in table]
    covariates = _usable_covariates(analysis, table, settings.covariates)
    kinds = dict(zip(traits.notes["column"], traits.notes["kind"], strict=True))
    if not names or table.empty or columns.empty:
        analysis.problems.append("no association could be looked at: see the lines above")
        return analysis
    analysis.power = _describe_power(columns, table, names)
    _associate(analysis, wide, columns, table, names, covariates, settings, seed)
    _fit(analysis, features, quality, wide, columns, table, names, covariates, kinds)
    for other in comparable:
        try:
            analysis.append(
                compare_with_baseline(
                    *(features, quality, wide, columns, table, names, settings, seed),
                    *(main, other),
                )
            )
        except SomaflowError as error:
            analysis.problems.append(f"{main} against {other}: {error}")
    return analysis


def _of_known_donors(analysis: Analysis, recipe: str, tiles: pd.DataFrame) -> pd.DataFrame:
    is_known = tiles.donor != ""
    if n_unknown := int((~is_known).sum()):
        analysis.problems.append(
            f"{recipe}: {n_unknown} of {len(tiles)} tiles have no known donor and are left out; "
            "name their donors in a donor_table"
        )
    return tiles[is_known].reset_index(drop=True)


def _drop_degenerate(
    analysis: Analysis, wide: pd.DataFrame, columns: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Without columns in which most donors have one value: a few others would decide everything.

    Resamples of such a column hardly differ, so its rho would look firm.
    """
    counts = [wide[name].value_counts() for name in columns.column]
    degenerate = np.array(
        [len(wide) >= _MIN_DONORS and count.max() > _MOST_ALIKE * count.sum() for count in counts],
        dtype=bool,
    )
    if degenerate.any():
        names = columns[degenerate].assign(what=columns.feature + " of " + columns.recipe)
        analysis.problems.append(
            f"{int(degenerate.sum())} of {len(columns)} columns are left out, more than two thirds "
            f"of donors have the same value there: {shorten(sorted(set(names.what)), n_shown=6)}"
        )
    kept = columns[~degenerate].reset_index(drop=True)
    return wide[["donor", *kept.column]], kept


def _families(columns: pd.DataFrame, settings: DonorStatistics) -> list[str]:
    """Primary: declared before anything is seen, few, and corrected for apart from the others."""
    any_names = {name for base in _PRIMARY_ANY for name in (base, in_micrometres(base))}
    is_primary = (columns.region == ALL_REGIONS) & (
        ((columns.phenotype == ANY) & columns.feature.isin(any_names))
        | (
            (columns.phenotype == settings.primary_phenotype)
            & columns.feature.isin(_PRIMARY_POSITIVE)
        )
    )
    words = np.where(is_primary, PRIMARY, EXPLORATORY)
    return [f"{recipe}, {word}" for recipe, word in zip(columns.recipe, words, strict=True)]


def _describe_flags(donors: pd.DataFrame) -> list[str]:
    flagged = donors[
        (donors.flag != "") & (donors.region == ALL_REGIONS) & (donors.phenotype == ANY)
    ]
    return [
        f"{recipe}, {marker}: {len(rows)} donor(s) left out for too few usable tiles: "
        + shorten([f"{row.donor} ({row.flag})" for row in rows.itertuples()])
        for (recipe, marker), rows in flagged.groupby(["recipe", "marker"], sort=False)
    ]


def _prepare_traits(analysis: Analysis, wide: pd.DataFrame, traits: Traits) -> pd.DataFrame:
    """Traits of donors with tiles, spelled as the tiles do; who has no partner is listed."""
    match = match_donors(wide["donor"], traits.table["donor"])
    lines = match.describe()
    # That all are matched is nothing to look into.
    analysis.problems += [*traits.problems, *lines[0 if match.without_traits else 1 :]]
    table = match.rename(traits.table)
    analysis.tables["traits"] = table
    analysis.tables["trait-columns"] = traits.notes
    return table


def _usable_covariates(analysis: Analysis, table: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    usable = [
        name
        for name in wanted
        if name in table
        and pd.api.types.is_numeric_dtype(table[name])
        and table[name].notna().any()
    ]
    if missing := [name for name in wanted if name not in usable]:
        analysis.problems.append(
            f"partial correlations: {', '.join(missing)} left out, no numbers in the trait table"
        )
    return usable


def _describe_power(columns: pd.DataFrame, table: pd.DataFrame, names: Sequence[str]) -> str:
    first = f"{columns.recipe.iloc[0]}, {PRIMARY}"
    n_tests = int((columns.family == first).sum()) * len(names)
    n_donors = int(table[list(names)].notna().any(axis=1).sum())
    if n_donors < _MIN_DONORS:
        return f"{n_donors} donors have traits: too few to show anything."
    return describe_power(n_donors, max(n_tests, 1))


def _associate(
    analysis: Analysis,
    wide: pd.DataFrame,
    columns: pd.DataFrame,
    table: pd.DataFrame,
    names: Sequence[str],
    covariates: Sequence[str],
    settings: DonorStatistics,
    seed: int,
) -> None:
    try:
        found = associate(
            wide,
            table,
            features=columns.column.tolist(),
            traits=names,
            covariates=covariates,
            n_resamples=settings.n_resamples,
            seed=seed,
            families=dict(zip(columns.column, columns.family, strict=True)),
        )
    except SomaflowError as error:
        analysis.problems.append(f"associations: {error}")
        return
    found = found.rename(columns={"feature": "column"})
    analysis.tables["associations"] = columns.merge(found, on="column", how="right")
    analysis.problems += _describe_undefined(found)
    if "partial_status" in found:
        left_out = found[found.partial_status.str.contains("left out")]
        words = sorted(set(left_out.partial_status))
        analysis.problems += [f"partial correlations: {line}" for line in words[:5]]


def _describe_undefined(found: pd.DataFrame) -> list[str]:
    """A line for each trait without any rho, and for each reason why some columns have none."""
    missing = found[found.status != ""]
    n_columns = found.column.nunique()
    lines = []
    for trait, rows in missing.groupby("trait", sort=False):
        if len(rows) == n_columns:
            lines.append(f"{trait}: no rho with any feature: {rows.status.iloc[0]}")
            missing = missing[missing.trait != trait]
    for status, rows in missing.groupby("status", sort=False):
        features = sorted(set(rows.column))
        named = shorten([name.replace(SEPARATOR, " ") for name in features], n_shown=2)
        lines.append(f"no rho for {len(features)} of {n_columns} features: {status} ({named})")
    return lines


def _fit(
    analysis: Analysis,
    features: Mapping[str, pd.DataFrame],
    quality: pd.DataFrame,
    wide: pd.DataFrame,
    columns: pd.DataFrame,
    table: pd.DataFrame,
    names: Sequence[str],
    covariates: Sequence[str],
    kinds: Mapping[str, str],
) -> None:
    """Models beside the ranks, of the primary features alone."""
    primary = columns[columns.family.str.endswith(PRIMARY)]
    about = primary[["column", "recipe", *WHAT]]
    try:
        fits = fit_models(wide, table, primary.column.tolist(), names, kinds, covariates)
        fits = fits.rename(columns={"feature": "column"})
        analysis.tables["fits"] = about.merge(fits, on="column", how="right")
        tiles = [
            fit_tiles(
                _tabulate_tiles(usable_tiles(features[str(recipe)], quality, str(marker)), rows),
                table,
                rows.column.tolist(),
                names,
                covariates,
            )
            for (recipe, marker), rows in primary.groupby(["recipe", "marker"], sort=False)
        ]
        checked = pd.concat(tiles, ignore_index=True).rename(columns={"feature": "column"})
        analysis.tables["tile-fits"] = about.merge(checked, on="column", how="right")
    except SomaflowError as error:
        analysis.problems.append(f"regression models: {error}")


def _tabulate_tiles(tiles: pd.DataFrame, columns: pd.DataFrame) -> pd.DataFrame:
    """Tile values under the names of the donors' columns."""
    values = tiles[name_places(columns)].set_axis(columns.column.tolist(), axis=1)
    return pd.concat([tiles[["donor"]], values], axis=1)
