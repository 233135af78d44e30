"""The few tables that a terminal shows at the end of a run, read from the experiments' folders."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from somaflow.evaluation.scores import OVERALL
from somaflow.experiments.results import check_page
from somaflow.tables import score_rows, text_rows


def list_tables(folders: Mapping[str, Path]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and text rows of each table.

    Args:
        folders: of the current experiments by name, from `status.current_experiments`.
    """
    if folder := folders.get("e1-recipes"):
        scores = _read(folder / "scores.tsv")
        split = "test" if (scores.split == "test").any() else str(scores.split.iloc[-1])
        shown = scores[scores.split == split]
        yield f"Recipes on {split} ({_level(shown)}, 95 % intervals)", _short(shown)
    if folder := folders.get("e2-label-budget"):
        names = {"budget": "tiles a marker", "n_repeats": "repeats", "f1_pooled": "F1 pooled"}
        curve = _read(folder / "curve.tsv")
        rows = text_rows(curve[curve.marker == OVERALL], names, ("f1_pooled",))
        yield f"Label budgets on {curve.split.iloc[0]}, all markers", rows
    for name, suffix, title in (
        ("e3-gating", "scores", "Gates chosen on val"),
        ("e4-thresholds", "test", "Thresholds chosen on val"),
    ):
        if folder := folders.get(name):
            tables = [_read(path) for path in sorted(folder.glob(f"*-{suffix}.tsv"))]
            scores = pd.concat(tables, ignore_index=True)
            split = scores.split.iloc[0]
            rows = _short(scores[scores.marker == OVERALL])
            yield f"{title}, on {split} ({_level(scores)}), all markers", rows


def _level(scores: pd.DataFrame) -> str:
    return f"{scores.split_level.iloc[0]}-level splits"


def _short(scores: pd.DataFrame) -> pd.DataFrame:
    return score_rows(scores).drop(columns=["split", "tiles", "donors"])


def _read(path: Path) -> pd.DataFrame:
    check_page(path.parent)
    return pd.read_csv(path, sep="\t", keep_default_na=True)
