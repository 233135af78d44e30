"""What every column of every table means, and in which unit.

Enters: tables by name. Leaves: one row a column. A column that nobody has described is said to be
so; the tests allow none.
"""

from collections.abc import Mapping

import pandas as pd

UNDESCRIBED = "not described"

_COUNT, _SHARE, _NAME, _WORDS = "count", "0-1", "name", "words"
_COLUMNS: dict[str, tuple[str, str]] = {
    # What a row is about.
    "tile_id": (_NAME, "tile"),
    "donor": (_NAME, "donor, as the tiles spell it"),
    "marker": (_NAME, "marker of the second channel; all = all of them together"),
    "region": (_NAME, "region of the tile, as its folder says; all = all of them together"),
    "recipe": (_NAME, "recipe: weights, thresholds and gate"),
    "split": (_NAME, "train, val or test"),
    "split_level": (_NAME, "donor: donors are in one split each; image: tiles are"),
    "source": (_NAME, "tiles (to be segmented) or labelled"),
    "status": (_WORDS, "what became of it; for an association, why it is undefined"),
    "reason": (_WORDS, "why"),
    "what": (_WORDS, "what the row is about"),
    "key": (_NAME, "hash of all that shapes the result"),
    "when_utc": ("UTC", "when it was finished"),
    "place": (_NAME, "folder, relative to the output folder"),
    "inference": (_NAME, "key of the inference"),
    "device": (_NAME, "what the net ran on"),
    # Recipes and versions.
    "made_by": (_NAME, "the flow that made the recipe, or the study file"),
    "model": (_NAME, "model or checkpoint file; of a fit: ols, ordinal or gee"),
    "weights_sha256": ("hex", "first digits of the sha256 of the weights"),
    "gate": (_WORDS, "which predicted cells are kept"),
    "package": (_NAME, "Python package"),
    "version_of_report": (_NAME, "version that made this report"),
    "version_of_runs": (_NAME, "versions that made trainings and inferences"),
    "flow_threshold": ("1", "largest flow error of a cell that is kept; 0 = no check"),
    "cellprob_threshold": ("logit", "cell probability above which pixels belong to cells"),
    "min_size_px": ("px", "area below which Cellpose removes cells"),
    "min_area_px": ("px", "area below which the gate removes cells"),
    "max_area_px": ("px", "area above which the gate removes cells"),
    "min_marker_quantile": (
        _SHARE, "quantile of the tile's pixels below which a cell's mean marker removes it"),
    "max_marker_quantile": (
        _SHARE, "quantile of the tile's pixels above which a cell's mean marker removes it"),
    # Mixtures of dim and bright cells.
    "mean_low": ("ln grey levels", "mean of the dim cells"),
    "mean_high": ("ln grey levels", "mean of the bright cells"),
    "sd_low": ("ln grey levels", "standard deviation of the dim cells"),
    "sd_high": ("ln grey levels", "standard deviation of the bright cells"),
    "weight_high": (_SHARE, "share of the cells that are bright"),
    "threshold": ("ln grey levels", "where a cell is as probably dim as bright"),
    "is_separated": ("yes/no", "whether the bright cells stand apart"),
    "marker_threshold": ("grey levels", "mean marker above which a cell is positive"),
    # Counts.
    "n_images": (_COUNT, "tiles scored"),
    "n_tiles": (_COUNT, "tiles"),
    "n_tiles_done": (_COUNT, "tiles in committed shards"),
    "n_tiles_used": (_COUNT, "tiles that pass the limits of quality"),
    "n_val_tiles": (_COUNT, "tiles of val that the choice was made on"),
    "n_donors": (_COUNT, "donors"),
    "n_donors_with_traits": (_COUNT, "donors who have a row in the trait table"),
    "n_cells": (_COUNT, "cells"),
    "n_cells_per_tile": ("cells per tile", "cells over tiles that were segmented"),
    "n_shards": (_COUNT, "shards"),
    "n_shards_done": (_COUNT, "shards that are committed"),
    "n_quarantined": (_COUNT, "tiles that could not be segmented"),
    "n_repeats": (_COUNT, "draws of training tiles"),
    "n_seeds": (_COUNT, "trainings of other seeds"),
    "n_reference": (_COUNT, "labelled cells"),
    "n_predicted": (_COUNT, "predicted cells"),
    "tp": (_COUNT, "predicted cells that are right"),
    "fp": (_COUNT, "predicted cells that are wrong"),
    "fn": (_COUNT, "labelled cells that were missed"),
    "tp_kept": (_COUNT, "right cells that the gate kept"),
    "tp_removed": (_COUNT, "right cells that the gate removed"),
    "fp_kept": (_COUNT, "wrong cells that the gate kept"),
    "fp_removed": (_COUNT, "wrong cells that the gate removed"),
    # Scores.
    "precision_pooled": (_SHARE, "precision, pooled over tiles"),
    "recall_pooled": (_SHARE, "recall, pooled over tiles"),
    "f1_pooled": (_SHARE, "F1, pooled over tiles"),
    "ap50_pooled": (_SHARE, "TP/(TP+FP+FN), pooled over tiles"),
    "ap50_image_mean": (_SHARE, "TP/(TP+FP+FN), mean over tiles"),
    "bootstrap_unit": (_NAME, "what was resampled for the interval; none = no interval"),
    # Experiments.
    "runner_up": (_NAME, "the second best recipe on val"),
    "hybrid": (_NAME, "recipe that is made of the best of each marker"),
    "seed": ("1", "seed of the trainings"),
    "budget": ("tiles per marker", "labelled tiles to train on"),
    "versus": (_NAME, "what it is compared with"),
    "versus_budget": ("tiles per marker", "budget that it is compared with"),
    "repeat": ("1", "which draw of training tiles"),
    "tiles": (_WORDS, "training tiles of each marker"),
    "capped": (_NAME, "markers that have fewer tiles than the budget"),
    "from_area_px": ("px", "lower end of the size bin"),
    "below_area_px": ("px", "upper end of the size bin"),
    "point": (_NAME, "operating point: best-f1 or precise"),
    "reached": ("yes/no", "whether the recall asked for was reached on val"),
    "label": ("1", "number of the cell in its tile"),
    "area_px": ("px", "area of the cell"),
    "flow_error": ("1", "how far the cell's flows are from those of its shape"),
    "cellprob_median": ("logit", "median cell probability in the cell"),
    "best_iou": (_SHARE, "largest overlap (IoU) with a cell of the other side"),
    "matches": ("yes/no", "whether it overlaps a labelled cell enough to be right"),
    "found": ("yes/no", "whether a predicted cell overlaps it enough"),
    "kept": ("yes/no", "whether thresholds and gate keep it"),
    "removed_by": (_NAME, "what removed it"),
    # Coverage and quality.
    "n_expected": (_COUNT, "tiles that there should be; empty = not declared"),
    "n_found": (_COUNT, "tiles found"),
    "n_refused": (_COUNT, "tiles that cannot be read or paired"),
    "n_segmented": (_COUNT, "tiles that have labels"),
    "n_pending": (_COUNT, "tiles still to be segmented"),
    "n_passing_quality": (_COUNT, "tiles within the limits of quality"),
    "n_usable": (_COUNT, "tiles segmented and within the limits of quality"),
    "has_traits": ("yes/no", "whether the donor has a row in the trait table"),
    "n_traits_missing": (_COUNT, "traits without a value"),
    "height_px": ("px", "height of the tile"),
    "width_px": ("px", "width of the tile"),
    "dapi_focus": ("1", "sharpness of DAPI; 0 = no detail"),
    "marker_focus": ("1", "sharpness of the marker; 0 = no detail"),
    "dapi_saturated_fraction": (_SHARE, "share of DAPI's pixels at the top of the range"),
    "marker_saturated_fraction": (_SHARE, "share of the marker's pixels at the top of the range"),
    "tissue_fraction": (_SHARE, "share of the tile that is tissue"),
    "tissue_px": ("px", "tissue in the tile"),
    "tissue_mpx": ("Mpx", "tissue in all tiles used"),
    "marker_median": ("grey levels", "median of the marker's pixels"),
    "marker_otsu": ("grey levels", "Otsu's threshold of the marker's pixels"),
    "passes": ("yes/no", "whether the tile is within the limits of quality"),
    "why": (_WORDS, "why it does not pass, or stand apart; empty = it does"),
    "flag": (_WORDS, "why the donor has no values here; empty = it has"),
    # Donors and traits.
    "phenotype": (_NAME, "when a cell is positive; any = of all cells"),
    "column": (_NAME, "column of the wide table of donors"),
    "feature": (_NAME, "what was measured of the donor's cells"),
    "unit": (_NAME, "unit of the feature"),
    "meaning": (_WORDS, "what it says"),
    "trait": (_NAME, "variable of the donor"),
    "trait_kind": (_NAME, "continuous, ordinal, binary or category"),
    "kind": (_NAME, "continuous, ordinal, binary or category"),
    "direction": (_WORDS, "what larger values mean"),
    "family": (_NAME, "tests that q is adjusted within"),
    "n": (_COUNT, "donors with both values"),
    "rho": ("-1 to 1", "Spearman's rho over donors"),
    "p": (_SHARE, "two-sided p of rho (t approximation)"),
    "q": (_SHARE, "p adjusted within its family (Benjamini-Hochberg)"),
    "rho_sd": ("1", "standard deviation of rho over draws of tiles"),
    "rho_variance": ("1", "variance of rho over draws of tiles"),
    "sign_consistency": (_SHARE, "share of draws in which rho keeps its sign"),
    "share_q05": (_SHARE, "share of draws with q < .05"),
    "segmentation": (_NAME, "baseline or fine_tuned"),
    "measure": (_NAME, "which number the row holds"),
    "value": ("as the measure", "the number"),
    "low": ("as the measure", "lower end of its 95 % interval"),
    "high": ("as the measure", "upper end of its 95 % interval"),
    "abs_rho_difference": ("1", "fine-tuned minus baseline, of |rho|"),
    "rho_difference": ("1", "fine-tuned minus baseline, of rho"),
    "donor_variance_ratio": ("1", "variance over resamples of donors, fine-tuned / baseline"),
    "tile_variance_ratio": ("1", "variance over draws of tiles, fine-tuned / baseline"),
    "strength": (_WORDS, "stronger, weaker or not conclusive: the interval of the difference"),
    "verdict": (_WORDS, "more stable, less stable or not conclusive: the interval of the ratio"),
    "variance": ("1", "variance of rho over resamples"),
    "found_share": (_SHARE, "share of resamples with q < .05"),
    "icc2": ("1", "ICC(2,1): agreement of segmentations on donors' values"),
    "icc3": ("1", "ICC(3,1): consistency of segmentations on donors' values"),
    "pearson": ("1", "split-half reliability (Spearman-Brown) of donors' values"),
    "spearman": ("1", "split-half reliability (Spearman-Brown) of donors' ranks"),
    "n_left_out": (_COUNT, "donors with too few tiles to be halved"),
    "n_features": (_COUNT, "features with a rho in both lists"),
    "kendall_tau": ("-1 to 1", "Kendall's tau of |rho| between both lists"),
    "top": (_COUNT, "how many of the strongest features are compared"),
    "jaccard_top": (_SHARE, "share of the strongest features that both lists have in common"),
    "estimate": ("sd per sd, or log odds per sd", "what the model gives the feature"),
    "n_values": (_COUNT, "donors with a value"),
    "n_missing": (_COUNT, "donors without a value"),
    "n_blank": (_COUNT, "empty cells"),
    "n_missing_code": (_COUNT, "codes that stand for a missing value"),
    "n_unreadable": (_COUNT, "values that are no numbers"),
    "n_outside": (_COUNT, "values that the codebook does not allow"),
    "n_decimal_comma": (_COUNT, "numbers with a comma for a point"),
    "examples": (_WORDS, "values that cannot be read or are not allowed"),
    "n_top_coded": (_COUNT, "values known only to be at least so large"),
    "n_distinct": (_COUNT, "different values"),
}  # fmt: skip
_ENDINGS = {
    "_low": "lower end of the 95 % interval of: {}",
    "_high": "upper end of the 95 % interval of: {}",
    "_seed_mean": "mean over seeds of: {}",
    "_seed_sd": "standard deviation over seeds of: {}",
    "_sd": "standard deviation over repeats of: {}",
    "_difference": "difference on the same tiles and resamples of: {}",
    "_raw": "without the gate: {}",
    "_gated": "with the gate: {}",
    "_baseline": "of the baseline: {}",
    "_fine_tuned": "of the fine-tuned recipe: {}",
}
_STARTS = {
    "val_": "on val: {}",
    "runner_up_": "of the second best recipe: {}",
    "partial_": "with covariates taken out: {}",
    "donor_": "over resamples of donors: {}",
    "tile_": "over draws of tiles: {}",
}


def describe_columns(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Returns a row a table and column: table, column, unit, meaning.

    Args:
        tables: by name. One with the columns `column`, `kind` and `meaning` describes traits.
    """
    traits: dict[str, tuple[str, str]] = {}
    for table in tables.values():
        if {"column", "kind", "meaning"} <= set(table):
            notes = table[["column", "kind", "meaning"]].fillna("trait of the donor")
            traits |= {name: (kind, meaning) for name, kind, meaning in notes.to_numpy()}
    rows = [
        (name, str(column), *(traits.get(str(column)) or describe_column(str(column))))
        for name, table in tables.items()
        for column in table
    ]
    return pd.DataFrame(rows, columns=["table", "column", "unit", "meaning"])


def describe_column(column: str) -> tuple[str, str]:
    """Unit and meaning of a column, `UNDESCRIBED` if nobody knows it."""
    if column in _COLUMNS:
        return _COLUMNS[column]
    if feature := _describe_feature(column):
        return feature
    for ending, words in _ENDINGS.items():
        if column.endswith(ending):
            unit, meaning = describe_column(column.removesuffix(ending))
            return (unit, words.format(meaning)) if unit else (unit, meaning)
    for start, words in _STARTS.items():
        if column.startswith(start):
            unit, meaning = describe_column(column.removeprefix(start))
            return (unit, words.format(meaning)) if unit else (unit, meaning)
    percentile = column.removeprefix("marker_p")
    if percentile != column and percentile.isdigit():
        return "grey levels", f"{percentile}th percentile of the marker's pixels"
    return "", UNDESCRIBED


def _describe_feature(column: str) -> tuple[str, str] | None:
    """A feature of donors, also as a column of the wide table, `recipe|marker|...|feature`."""
    from somaflow.donors.tile_features import FEATURES, SEPARATOR

    *names, feature = column.split(SEPARATOR)
    if feature not in FEATURES:
        return None
    unit, meaning = FEATURES[feature]
    return unit, f"{meaning} Of: {', '.join(names)}" if names else meaning
