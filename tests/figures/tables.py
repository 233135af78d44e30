"""Tables that charts are drawn from, as the experiments make them, and PNGs read back."""

import io
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from PIL import Image

MARKERS = ("all", "GFAP", "IBA1", "NeuN", "OLIG2")
METRICS = ("f1_pooled", "precision_pooled", "recall_pooled")


def open_png(content: bytes) -> np.ndarray:
    """(h, w, 3) uint8 of a PNG."""
    assert content.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def count_px(content: bytes, colour: str) -> int:
    """Pixels of exactly this colour, written as #rrggbb."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((open_png(content) == wanted).all(axis=2).sum())


def has_clear_margin(content: bytes) -> bool:
    """Whether nothing is cut off at the edges of a chart: its outermost px are all ground."""
    picture = open_png(content)
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    return all((edge == 255).all() for edge in edges)


def recipe_scores(recipes: Sequence[str], markers: Sequence[str] = MARKERS) -> pd.DataFrame:
    """Scores of recipes on val and test, with intervals."""
    rng = np.random.default_rng(0)
    rows = []
    for split, marker, recipe in product(("val", "test"), markers, recipes):
        f1 = rng.uniform(0.3, 0.9)
        names = {"recipe": recipe, "split": split, "marker": marker, "bootstrap_unit": "donor"}
        scores = {"f1_pooled": f1, "f1_pooled_low": f1 - 0.07, "f1_pooled_high": f1 + 0.05}
        rows.append(names | scores)
    return pd.DataFrame(rows)


def budget_scores(
    markers: Sequence[str] = MARKERS, budgets: Sequence[int] = (2, 5, 10)
) -> pd.DataFrame:
    """A label-budget curve with spread and intervals."""
    rows = []
    for marker, budget in product(markers, budgets):
        f1 = 0.5 + 0.03 * budget
        rows.append(
            {
                "split": "test",
                "marker": marker,
                "bootstrap_unit": "donor",
                "budget": budget,
                "n_repeats": 5,
                "f1_pooled": f1,
                "f1_pooled_sd": 0.03,
                "f1_pooled_low": f1 - 0.1,
                "f1_pooled_high": f1 + 0.08,
            }
        )
    return pd.DataFrame(rows)


def training_history(n_epochs: int = 30) -> pd.DataFrame:
    """A training whose F1 on val is best in epoch 20, or the last."""
    epoch = np.arange(1, n_epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": 1 / epoch,
            "learning_rate": 0.002 * np.linspace(1, 0, n_epochs),
            "val_f1_pooled": 0.9 - 0.02 * np.abs(epoch - 20),
            "weights_moved_fraction": np.minimum(epoch / 10, 1),
        }
    )


def threshold_scores(
    recipes: Sequence[str] = ("generic",), markers: Sequence[str] = ("all", "OLIG2")
) -> pd.DataFrame:
    """Scores of a small threshold grid: laxer thresholds raise recall and lower precision."""
    rows = []
    grid = product(recipes, markers, (-2.0, 0.0), (0.4, 0.8, 0.0), (15, 50))
    for recipe, marker, cellprob, flow, size in grid:
        recall = 0.5 - 0.1 * cellprob + (0.1 if flow == 0 else 0)
        precision = 0.7 + 0.05 * cellprob
        rows.append(
            {
                "recipe": recipe,
                "split": "val",
                "marker": marker,
                "cellprob_threshold": cellprob,
                "flow_threshold": flow,
                "min_size_px": size,
                "precision_pooled": precision,
                "recall_pooled": recall,
                "f1_pooled": 2 * precision * recall / (precision + recall),
                "ap50_image_mean": 0.5,
            }
        )
    return pd.DataFrame(rows)


def removed_cells(markers: Sequence[str] = ("GFAP", "OLIG2"), n_cells: int = 20) -> pd.DataFrame:
    """What a gate removed: half of the wrong cells of the smallest bin."""
    bins = [(0.0, 50.0), (50.0, 200.0), (200.0, np.inf)]
    rows = []
    for marker, (low, high) in product(markers, bins):
        counts = [n_cells, 0, n_cells, n_cells if low == 0 else 0]
        names = {"split": "test", "marker": marker, "from_area_px": low, "below_area_px": high}
        kinds = ("tp_kept", "tp_removed", "fp_kept", "fp_removed")
        rows.append(names | dict(zip(kinds, counts, strict=True)))
    return pd.DataFrame(rows)


def gate_scores(markers: Sequence[str] = ("all", "GFAP", "OLIG2")) -> pd.DataFrame:
    """Scores raw and gated, with intervals."""
    rows = []
    for marker, gated in product(markers, (False, True)):
        row = {"split": "test", "marker": marker, "gated": gated, "bootstrap_unit": "donor"}
        for metric in METRICS:
            value = 0.7 + 0.1 * gated
            row |= {metric: value, f"{metric}_low": value - 0.1, f"{metric}_high": value + 0.1}
        rows.append(row)
    return pd.DataFrame(rows)


def without_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """The same scores of a single donor: every interval is NaN."""
    ends = [name for name in table if str(name).endswith(("_low", "_high", "_sd"))]
    return table.assign(**dict.fromkeys(map(str, ends), np.nan))
