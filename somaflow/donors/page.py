"""The page of e5-donors: what was found, how firm it is, and what to look into first.

Enters: the analysis, tile quality and coverage. Leaves: `Results`. What is not conclusive is said
to be so.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from somaflow.coverage import Coverage
from somaflow.donors.analysis import Analysis
from somaflow.donors.contrasts import PRIMARY
from somaflow.donors.tables import ALL_REGIONS
from somaflow.errors import ScoringError
from somaflow.experiments.results import Results
from somaflow.figures import draw_associations, draw_coverage, draw_effects, draw_stability
from somaflow.figures.pictures import Picture
from somaflow.study import Study
from somaflow.tables import text_rows
from somaflow.traits import describe_direction, describe_traits

_FOUND_Q = 0.05
_SMALLEST_P = 0.001
_WHAT = {"recipe": "recipe", "marker": "marker", "feature": "feature", "trait": "trait"}


def describe_donors(
    study: Study, analysis: Analysis, quality: pd.DataFrame, coverage: Coverage | None
) -> Results:
    """The page, part by part.

    Args:
        study: its settings name the primary phenotype and the recipes.
        analysis: from `analyse_donors`.
        quality: of all tiles, from `judge_tiles`.
        coverage: None where it could not be audited.
    """
    results = Results(f"Donors of {study.name}")
    results.tables |= {**analysis.tables, "tile-quality": quality}
    _add_warnings(results, analysis, coverage)
    _add_findings(results, study, analysis)
    _add_stability(results, study, analysis)
    _add_agreement(results, analysis)
    _add_models(results, analysis)
    _add_traits(results, analysis)
    _add_quality(results, quality)
    _add_coverage(results, coverage)
    return results


def _add_warnings(results: Results, analysis: Analysis, coverage: Coverage | None) -> None:
    lines = [*analysis.problems, *(coverage.problems if coverage is not None else [])]
    if lines:
        listed = "\n".join(f"- {line.splitlines()[0]}" for line in dict.fromkeys(lines))
        results.add_words(f"## To look into\n\n{listed}")


def _add_findings(results: Results, study: Study, analysis: Analysis) -> None:
    results.add_words("## Associations with traits")
    associations = analysis.tables.get("associations")
    if associations is None or associations.rho.isna().all():
        results.add_words("None could be looked at; why is in the lines above.")
        return
    settings = study.donor_statistics
    primary = associations[associations.family.str.endswith(PRIMARY)]
    results.add_words(
        f"Spearman's rho over donors, 95 % BCa intervals of {settings.n_resamples} resamples of "
        "donors. Primary, declared before: cell density, area fraction and positive fraction "
        f"({settings.primary_phenotype}) of all regions. q is Benjamini-Hochberg's over all "
        f"primary associations of a recipe. {analysis.power}"
    )
    results.add_words("\n".join(f"- {line}" for line in _describe_found(primary)))
    names = _WHAT | {"direction": "of the trait", "n": "donors", "rho": "rho", "p": "p", "q": "q"}
    shown = primary.sort_values("p").groupby("recipe", sort=False).head(8)
    shown = shown.assign(
        direction=shown.trait.map(_directions(analysis)),
        **{name: _as_words(shown[name]) for name in ("p", "q", "partial_q") if name in shown},
    )
    if "partial_rho" in primary:
        names |= {"partial_rho": "partial rho", "partial_q": "partial q"}
    results.add_table("strongest", shown, text_rows(shown, names, ("rho",)))
    _add_figure(
        results,
        "effects",
        lambda: draw_effects(primary, settings.primary_phenotype),
        "Primary associations with 95 % intervals; the grey band is not significant",
    )
    _add_figure(
        results,
        "associations",
        lambda: draw_associations(associations, settings.primary_phenotype),
        f"Spearman's rho of all features with each trait ({settings.primary_phenotype})",
    )


def _as_words(p: pd.Series) -> pd.Series:
    """Probabilities as text; what would be shown as 0 is below .001."""
    text = p.map(lambda value: "< .001" if value < _SMALLEST_P else f"{value:.3f}")
    return text.where(p.notna(), "-")


def _directions(analysis: Analysis) -> dict[str, str]:
    """Which end of each trait is worse, without which the sign of a rho says little."""
    notes = analysis.tables["trait-columns"]
    return {
        name: describe_direction(direction)
        for name, direction in zip(notes.column, notes.direction, strict=True)
    }


def _describe_found(primary: pd.DataFrame) -> list[str]:
    """What is found and what is not, a line a recipe."""
    lines = []
    for recipe, rows in primary.groupby("recipe", sort=False):
        tested = rows[rows.p.notna()]
        found = tested[tested.q < _FOUND_Q].sort_values("p")
        named = [
            f"{row.marker} {row.feature} with {row.trait} (rho {row.rho:+.2f})"
            for row in found.itertuples()
        ]
        what = "; ".join(named) if named else "none: not conclusive"
        lines.append(f"**{recipe}**: {len(found)} of {len(tested)} have q < .05: {what}.")
    return lines


def _add_stability(results: Results, study: Study, analysis: Analysis) -> None:
    stability = analysis.tables.get("stability")
    if stability is None:
        return
    results.add_words(
        "## Does better segmentation make findings more reliable?\n\nBoth segmentations on the "
        "same donors and the same resamples. More stable: the variance of rho over resamples of "
        "donors is smaller, and the interval of the ratio excludes 1; stronger: likewise for "
        "|rho|. The variance of a rho falls as rho grows, so a stronger association is a more "
        "stable one too."
    )
    primary = stability[stability.family == PRIMARY]
    results.add_words("\n".join(f"- {line}" for line in _describe_verdicts(primary)))
    shown = primary.reindex(primary.abs_rho_difference.abs().sort_values(ascending=False).index)
    names = {
        "versus": "baseline", "marker": "marker", "feature": "feature", "trait": "trait",
        "rho_baseline": "rho baseline", "rho_fine_tuned": "rho fine-tuned",
        "abs_rho_difference": "|rho| difference", "strength": "strength", "verdict": "verdict",
    }  # fmt: skip
    intervals = ("rho_baseline", "rho_fine_tuned", "abs_rho_difference")
    results.add_table("stability", stability, text_rows(shown.head(12), names, intervals))
    tidy = by_threshold(stability)
    results.tables["stability-by-threshold"] = tidy
    phenotype = study.donor_statistics.primary_phenotype
    for marker, feature, trait in _worth_showing(stability[stability.phenotype == phenotype]):
        own = tidy[(tidy.marker == marker) & (tidy.feature == feature)]
        _add_figure(
            results,
            f"stability-{marker}-{trait}",
            partial(draw_stability, own, feature, trait, phenotype),
            f"How rho of the density of positive {marker} cells with {trait} moves with the "
            "threshold",
        )
    rankings = analysis.tables.get("rankings")
    if rankings is not None:
        names = {
            "versus": "against", "trait": "trait", "n_features": "features",
            "kendall_tau": "Kendall's tau of |rho|", "top": "top", "jaccard_top": "top in common",
        }  # fmt: skip
        results.add_words("### Do both put the same features first?")
        results.add_table("rankings", rankings, text_rows(rankings, names))


def _describe_verdicts(primary: pd.DataFrame) -> list[str]:
    lines = []
    for (recipe, versus), rows in primary.groupby(["recipe", "versus"], sort=False):
        counts = {
            name: int((rows.verdict == name).sum())
            for name in ("more stable", "less stable", "not conclusive")
        }
        strength = {
            name: int((rows.strength == name).sum())
            for name in ("stronger", "weaker", "not conclusive")
        }
        lines.append(
            f"**{recipe} against {versus}**, {len(rows)} primary associations: "
            + ", ".join(f"{count} {name}" for name, count in counts.items())
            + "; "
            + ", ".join(f"{count} {name}" for name, count in strength.items())
            + f". {_conclude(counts['more stable'], counts['less stable'], len(rows))}"
        )
    return lines


def _conclude(n_more: int, n_less: int, n_all: int) -> str:
    """One in twenty comparisons goes either way by chance alone."""
    if n_more + n_less <= stats.binom.ppf(0.95, n_all, 0.05):
        return "Not more than chance would give: not conclusive."
    if n_more > 2 * n_less:
        return "Where they differ, mostly the fine-tuned one is more stable."
    if n_less > 2 * n_more:
        return "Where they differ, mostly the baseline is more stable."
    return "They differ in both directions: no general answer."


def by_threshold(stability: pd.DataFrame) -> pd.DataFrame:
    """Rho and its firmness over redraws of tiles, a row a recipe, phenotype and association."""
    rows = stability[(stability.phenotype != "any") & (stability.region == ALL_REGIONS)]
    keys = ["marker", "phenotype", "feature", "trait", "n"]
    parts = []
    for recipe, side in (("recipe", "fine_tuned"), ("versus", "baseline")):
        part = rows[keys].copy()
        part.insert(0, "recipe", rows[recipe])
        for end in ("", "_low", "_high"):
            part[f"rho{end}"] = rows[f"rho_{side}{end}"]
        part["rho_sd"] = np.sqrt(rows[f"tile_variance_{side}"])
        part["sign_consistency"] = rows[f"tile_sign_consistency_{side}"]
        part["share_q05"] = rows[f"tile_found_share_{side}"]
        parts.append(part)
    return pd.concat(parts, ignore_index=True).drop_duplicates(["recipe", *keys[:4]])


def _worth_showing(stability: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Of each marker the trait with the largest |rho| of the density of positive cells."""
    rows = stability[stability.feature.str.startswith("positive_density")]
    strength = rows[["rho_baseline", "rho_fine_tuned"]].abs().max(axis=1)
    best = rows.assign(strength=strength).dropna(subset="strength").sort_values("strength")
    chosen = best.groupby("marker", sort=True).tail(1).sort_values("marker")
    return list(zip(chosen.marker, chosen.feature, chosen.trait, strict=True))


def _add_agreement(results: Results, analysis: Analysis) -> None:
    reliability, agreement = analysis.tables.get("reliability"), analysis.tables.get("agreement")
    if reliability is None or reliability.empty:
        return
    results.add_words(
        "## Reliability of donor values\n\nSplit-half: a donor's tiles dealt in two halves 200 "
        "times, correlation over donors stepped up by Spearman-Brown. An association with a value "
        "of reliability R is seen weaker than it is by the factor sqrt(R)."
    )
    main = reliability[reliability.feature.str.startswith("density")]
    names = {
        "recipe": "recipe",
        "marker": "marker",
        "feature": "feature",
        "n": "donors",
        "spearman": "split-half",
    }
    results.add_table("reliability", reliability, text_rows(main, names, ("spearman",)))
    if agreement is not None:
        results.add_words("Agreement between segmentations over the same donors (intraclass).")
        main = agreement[agreement.feature.str.startswith("density")]
        names = {
            "versus": "baseline", "marker": "marker", "feature": "feature", "n": "donors",
            "icc2": "ICC(2,1) agreement", "icc3": "ICC(3,1) consistency",
        }  # fmt: skip
        results.add_table("agreement", agreement, text_rows(main, names, ("icc2", "icc3")))


def _add_models(results: Results, analysis: Analysis) -> None:
    fits, tile_fits = analysis.tables.get("fits"), analysis.tables.get("tile-fits")
    if fits is None:
        return
    results.add_words(
        "## Models beside the ranks\n\nOLS with HC3 errors, proportional odds of ordinal traits, "
        "and tile-level GEE as a check. Primary features, adjusted for the covariates."
    )
    both = pd.concat([table for table in (fits, tile_fits) if table is not None])
    shown = both.sort_values("p").head(12)
    shown = shown.assign(p=_as_words(shown.p))
    names = _WHAT | {
        "model": "model",
        "n": "n",
        "estimate": "estimate",
        "p": "p",
        "status": "status",
    }
    table = shown.rename(columns={"low": "estimate_low", "high": "estimate_high"})
    results.add_table("fits", fits, text_rows(table, names, ("estimate",)))


def _add_traits(results: Results, analysis: Analysis) -> None:
    notes = analysis.tables.get("trait-columns")
    if notes is not None:
        results.add_words("## Traits as read")
        results.add_table("trait-columns", notes, describe_traits(notes))


def _add_quality(results: Results, quality: pd.DataFrame) -> None:
    failing = quality[~quality.passes]
    results.add_words(
        f"## Tile quality\n\n{len(quality) - len(failing)} of {len(quality)} tiles pass the limits "
        "of focus, saturation and tissue."
    )
    if len(failing):
        names = {"tile_id": "tile", "donor": "donor", "marker": "marker", "why": "why it does not"}
        results.add_table("tiles-failing", failing, text_rows(failing.head(20), names))


def _add_coverage(results: Results, coverage: Coverage | None) -> None:
    if coverage is None:
        return
    results.add_words("## Coverage\n\nTiles expected, found, segmented and usable, by marker.")
    names = {str(name): str(name).removeprefix("n_").replace("_", " ") for name in coverage.markers}
    results.add_table("coverage-markers", coverage.markers, text_rows(coverage.markers, names))
    results.tables["coverage"] = coverage.table
    _add_figure(
        results,
        "coverage",
        lambda: draw_coverage(coverage.table),
        "Tiles segmented, of those expected, by donor and marker",
    )


def _add_figure(results: Results, name: str, draw: Callable[[], Picture], caption: str) -> None:
    try:
        picture = draw()
    except ScoringError as error:
        results.add_words(f"{caption}: not drawn, {error}")
        return
    results.add_picture(name, picture, caption)
