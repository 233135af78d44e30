"""Segments labelled tiles with a recipe and counts what was found.

Enters the table of prepared tiles, a recipe and a segmenter; leaves counts, one row an image.
"""

from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd
import tifffile

from somaflow.evaluation.counting import count_matches
from somaflow.keys import content_key, library_versions
from somaflow.recipes import Recipe, Segments


def evaluation_key(
    prepared_key: str, recipe: Recipe, weights_sha256: str, iou_threshold: float
) -> str:
    """Key of the counts of one recipe on one set of prepared tiles."""
    return content_key(
        "evaluate",
        prepared=prepared_key,
        recipe=recipe.model_dump(mode="json", exclude={"model", "model_sha256"}),
        weights_sha256=weights_sha256,
        iou_threshold=iou_threshold,
        versions=library_versions("cellpose", "torch", "numpy"),
    )


def score_tiles(
    prepared: pd.DataFrame, folder: Path, recipe: Recipe, segmenter: Segments, iou_threshold: float
) -> pd.DataFrame:
    """Counts of each tile: tile_id donor marker recipe split split_level tp fp fn n_*.

    Args:
        prepared: rows of `prepared.parquet`.
        folder: the folder they lie in.
        recipe: what to score.
        segmenter: its model, loaded.
        iou_threshold: overlap from which a predicted cell counts as found, in (0, 1].
    """
    rows = []
    for row in prepared.itertuples():
        image, reference = read_prepared(row, folder)
        predicted = segmenter.segment([image], recipe)[0]
        counts = count_matches(reference, predicted, iou_threshold=iou_threshold)
        rows.append(
            {
                "tile_id": row.tile_id,
                "donor": row.donor,
                "marker": row.marker,
                "recipe": recipe.name,
                "split": row.split,
                "split_level": row.split_level,
                "tp": counts.tp,
                "fp": counts.fp,
                "fn": counts.fn,
                "n_reference": counts.n_reference,
                "n_predicted": counts.n_predicted,
            }
        )
    return pd.DataFrame(rows)


def read_prepared(row: Any, folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The tile (2, Y, X) and its reference labels (Y, X) from a prepared folder."""
    image = tifffile.imread(folder / row.image_path)[:2]
    return image, tifffile.imread(folder / row.labels_path)
