"""Segments labelled tiles with a recipe and counts what was found.

Enters the table of prepared tiles, a recipe and a segmenter; leaves counts, one row an image.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd
import tifffile

from somaflow.evaluation.counting import count_matches
from somaflow.keys import content_key, library_versions
from somaflow.recipes import Recipe, Segments


def evaluation_key(
    prepared_key: str, recipe: Recipe, weights_sha256: Callable[[str], str], iou_threshold: float
) -> str:
    """Key of the counts of one recipe on one set of prepared tiles.

    Args:
        prepared_key: of the tiles.
        recipe: what is scored.
        weights_sha256: gives the checksum of a model's weights, as `segmenter.weights_sha256`.
        iou_threshold: overlap from which a predicted cell counts as found.
    """
    return content_key(
        "evaluate",
        prepared=prepared_key,
        name=recipe.name,
        recipe=describe_recipe(recipe, weights_sha256),
        iou_threshold=iou_threshold,
        versions=library_versions("cellpose", "torch", "numpy"),
    )


def describe_recipe(recipe: Recipe, weights_sha256: Callable[[str], str]) -> dict[str, Any]:
    """What of a recipe shapes labels, as JSON: thresholds, gates and weights by checksum."""
    settings = recipe.model_dump(
        mode="json", exclude={"name", "model", "model_sha256", "per_marker"}
    )
    sets = {
        marker: describe_recipe(part, weights_sha256)
        for marker, part in sorted(recipe.per_marker.items())
    }
    return {**settings, "weights_sha256": weights_sha256(recipe.model), "per_marker": sets}


def score_tiles(
    prepared: pd.DataFrame,
    folder: Path,
    recipe: Recipe,
    load: Callable[[Recipe], Segments],
    iou_threshold: float,
) -> pd.DataFrame:
    """Counts of each tile: tile_id donor marker recipe split split_level tp fp fn n_*.

    Args:
        prepared: rows of `prepared.parquet`.
        folder: the folder they lie in.
        recipe: what to score, possibly with a set per marker.
        load: gives the segmenter of one set.
        iou_threshold: overlap from which a predicted cell counts as found, in (0, 1].
    """
    rows = []
    for marker, tiles in prepared.groupby("marker", sort=True):
        chosen = recipe.for_marker(str(marker))
        segmenter = load(chosen)
        for row in tiles.itertuples():
            image, reference = read_prepared(row, folder)
            predicted = segmenter.segment([image], chosen)[0]
            counts = count_matches(reference, predicted, iou_threshold=iou_threshold)
            rows.append(describe_tile(row, recipe.name) | asdict(counts))
    return pd.DataFrame(rows)


def describe_tile(row: Any, recipe: str) -> dict[str, Any]:
    """What every row of counts says about its tile: id, donor, marker, recipe, split, level."""
    return {
        "tile_id": row.tile_id,
        "donor": row.donor,
        "marker": row.marker,
        "recipe": recipe,
        "split": row.split,
        "split_level": row.split_level,
    }


def read_prepared(row: Any, folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The tile (2, Y, X) and its reference labels (Y, X) from a prepared folder."""
    image = tifffile.imread(folder / row.image_path)[:2]
    return image, tifffile.imread(folder / row.labels_path)
