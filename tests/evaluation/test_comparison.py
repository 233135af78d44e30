"""Recipes side by side: scores, paired differences and seeds."""

import numpy as np
import pandas as pd
import pytest

from somaflow.errors import ScoringError
from somaflow.evaluation import compare, summarise
from somaflow.evaluation.bootstrap import METRICS
from somaflow.evaluation.comparison import SEED_METRICS, compare_recipes, summarise_seeds
from tests.experiments.tables import prepared_tiles, random_counts

TILES = prepared_tiles(
    {
        ("GFAP", "val"): 4, ("OLIG2", "val"): 4, ("GFAP", "test"): 6,
        ("OLIG2", "test"): 4, ("GFAP", "train"): 4,
    }
)  # fmt: skip
COUNTS = random_counts(TILES, ["generic", "stock", "balanced"])


def summarise_all(counts: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    """Summaries per recipe, split and marker, and over all markers."""
    both = pd.concat([counts.assign(marker="all"), counts], ignore_index=True)
    keys = ["recipe", "split", "split_level", "marker"]
    return summarise(both, by=keys, n_resamples=n_resamples, seed=seed)


def test_comparison_has_the_baseline_first_and_all_before_markers() -> None:
    """Rows: split in the order of use, "all" before the markers, then recipes as they appear."""
    table = compare_recipes(COUNTS, "stock", n_resamples=20)
    expected = [
        (split, marker, recipe)
        for split, markers in (
            ("train", ["all", "GFAP"]),
            ("val", ["all", "GFAP", "OLIG2"]),
            ("test", ["all", "GFAP", "OLIG2"]),
        )
        for marker in markers
        for recipe in ("stock", "generic", "balanced")
    ]

    assert expected == list(zip(table.split, table.marker, table.recipe, strict=True))


def test_comparison_scores_are_those_of_summarise() -> None:
    """Scores and intervals do not change because recipes are compared."""
    keys = ["recipe", "split", "marker"]
    expected = summarise_all(COUNTS, n_resamples=40, seed=2).set_index(keys).sort_index()
    actual = compare_recipes(COUNTS, "stock", n_resamples=40, seed=2).set_index(keys).sort_index()

    pd.testing.assert_frame_equal(expected, actual[list(expected)])


def test_comparison_differences_are_those_of_compare() -> None:
    """Each recipe against the baseline, on the same tiles and resamples of its group."""
    table = compare_recipes(COUNTS, "stock", n_resamples=40, seed=2)
    own = COUNTS[(COUNTS.split == "test") & (COUNTS.marker == "GFAP")]
    pair = [own[own.recipe == name] for name in ("stock", "generic")]
    expected = compare(*pair, n_resamples=40, seed=2).iloc[0]

    row = table.query("split == 'test' and marker == 'GFAP' and recipe == 'generic'").iloc[0]
    for metric in METRICS:
        for end in ("", "_low", "_high"):
            assert expected[f"{metric}_difference{end}"] == row[f"{metric}_difference{end}"]


def test_comparison_of_the_baseline_with_itself_is_zero() -> None:
    """The baseline's own row shows that differences are paired."""
    table = compare_recipes(COUNTS, "stock", n_resamples=20)
    own = table[table.recipe == "stock"]

    ends = ("", "_low", "_high")
    assert {0.0} == set(own[[f"f1_pooled_difference{end}" for end in ends]].to_numpy().ravel())


def test_comparison_refuses_an_unknown_baseline_and_other_tiles() -> None:
    """Both would make differences that mean nothing."""
    with pytest.raises(ScoringError, match="no rows of 'nothing' among generic, stock, balanced"):
        compare_recipes(COUNTS, "nothing")
    lacking = COUNTS[(COUNTS.recipe != "generic") | (COUNTS.tile_id != "GFAP-test-00")]
    with pytest.raises(ScoringError, match="only in counts_a: GFAP-test-00"):
        compare_recipes(lacking, "stock", n_resamples=10)


def test_seeds_are_summarised_by_mean_and_sample_sd() -> None:
    """Three seeds of a recipe are one row, one seed has no spread, other recipes are left out."""
    names = ["generic", "generic-seed1", "generic-seed2", "two-stage", "stock"]
    counts = random_counts(TILES, names)
    recipe_of = {name: ("generic", seed) for seed, name in enumerate(names[:3])}
    table = summarise_seeds(counts, recipe_of | {"two-stage": ("two-stage", 0)})
    scores = summarise_all(counts, n_resamples=1).set_index(["split", "marker", "recipe"])

    assert ["generic", "two-stage"] == list(dict.fromkeys(table.recipe))
    for row in table[table.recipe == "generic"].itertuples():
        own = scores.loc[[(row.split, row.marker, name) for name in names[:3]]]
        assert 3 == row.n_seeds
        for metric in SEED_METRICS:
            assert own[metric].mean() == pytest.approx(getattr(row, f"{metric}_seed_mean"))
            assert own[metric].std() == pytest.approx(getattr(row, f"{metric}_seed_sd"))
    one = table[table.recipe == "two-stage"]
    assert {1} == set(one.n_seeds)
    assert one.f1_pooled_seed_sd.isna().all()
    assert ["train", "val", "test"] == list(dict.fromkeys(one.split))
    assert "all" == one.marker.iloc[0]


def test_seeds_of_which_one_predicts_nothing_have_no_precision() -> None:
    """An undefined value is not quietly left out of a mean."""
    counts = random_counts(TILES, ["a", "b"])
    silent = counts.recipe == "b"
    counts.loc[silent, "fn"] += counts.loc[silent, "tp"]
    counts.loc[silent, ["tp", "fp"]] = 0

    row = summarise_seeds(counts, {"a": ("x", 0), "b": ("x", 1)}).iloc[0]
    assert np.isnan([row.precision_pooled_seed_mean, row.precision_pooled_seed_sd]).all()
    assert row.f1_pooled_seed_mean > 0


def test_seeds_refuse_counts_of_other_recipes() -> None:
    """A mapping that fits no row is a mistake."""
    with pytest.raises(ScoringError, match="empty table"):
        summarise_seeds(COUNTS, {"hybrid": ("hybrid", 0)})
