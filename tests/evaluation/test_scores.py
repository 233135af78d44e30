"""The table people read, and which tiles they are shown."""

import pandas as pd

from somaflow.evaluation.comparison import compare_recipes
from somaflow.evaluation.scores import choose_examples
from somaflow.tables import describe_scores, score_rows


def count(tile: str, marker: str, split: str, tp: int, fp: int, fn: int) -> dict[str, object]:
    """A row of counts; the donor is the tile's first letter."""
    return {
        "tile_id": tile, "donor": tile[0], "marker": marker, "recipe": "baseline",
        "split": split, "split_level": "donor", "tp": tp, "fp": fp, "fn": fn,
    }  # fmt: skip


COUNTS = pd.DataFrame(
    [
        count("a1", "GFAP", "train", 8, 2, 0),
        count("b1", "GFAP", "test", 9, 1, 1),
        count("b2", "GFAP", "test", 1, 9, 9),
        count("c1", "GFAP", "test", 5, 5, 5),
        count("c2", "OLIG2", "val", 0, 0, 4),
    ]
)


def test_examples_are_median_best_and_worst_test_tiles() -> None:
    """GFAP shows three of its test tiles; OLIG2, with a single tile and no test tile, that one."""
    expected = {"median": ["c1", "c2"], "best": ["b1"], "worst": ["b2"]}
    assert expected == choose_examples(COUNTS)


def test_score_rows_show_what_is_undefined_and_give_no_interval_for_one_donor() -> None:
    """Nothing predicted: precision is "-", not 0; a single donor has no interval."""
    rows = score_rows(compare_recipes(COUNTS, "baseline", n_resamples=100)).to_dict("records")
    olig2 = next(row for row in rows if row["marker"] == "OLIG2")
    assert "-" == olig2["precision"]
    assert ("0.000", "0.000") == (olig2["recall"], olig2["F1 pooled"])
    test = next(row for row in rows if (row["split"], row["marker"]) == ("test", "GFAP"))
    assert test["F1 pooled"].startswith("0.500 [")


def test_scores_without_donors_are_called_image_level() -> None:
    """The title says what was split and what was resampled."""
    images = COUNTS.assign(donor="", split_level="image")
    table = compare_recipes(images, "baseline", n_resamples=100)
    expected = "Scores (image-level splits, IoU 0.5, 95 % image bootstrap intervals)"
    assert expected == describe_scores(table, 0.5)
