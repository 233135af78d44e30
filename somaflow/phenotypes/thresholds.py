"""The marker intensity above which a cell is positive, by each rule that needs its tile alone.

Enters: the tiles' quality table. Leaves: a threshold a tile and rule, in grey levels.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from somaflow.errors import BadInputError
from somaflow.tiles.quality import PERCENTILES

OTSU, MIXTURE = "otsu", "mixture"
PHENOTYPES = (*(f"p{percentile}" for percentile in PERCENTILES), OTSU, MIXTURE)
"""p<q>: mean marker above that percentile of the tile's marker pixels; otsu: above the tile's Otsu
threshold; mixture: above what parts two Gaussians of the donor's cells."""


def check_phenotypes(phenotypes: Sequence[str]) -> list[str]:
    """Returns the names as a list.

    Raises:
        BadInputError: if a name is not one of `PHENOTYPES`, or is there twice.
    """
    names = list(phenotypes)
    unknown = [name for name in names if name not in PHENOTYPES]
    if unknown or len(set(names)) < len(names):
        raise BadInputError(
            f"phenotypes must be different ones of {', '.join(PHENOTYPES)}, got {', '.join(names)}"
        )
    return names


def tile_thresholds(quality: pd.DataFrame, phenotypes: Sequence[str]) -> np.ndarray:
    """Returns the thresholds of each tile, (T, P) float64 grey levels, NaN where not measured.

    Args:
        quality: one row a tile, with marker_p<q> and marker_otsu as far as asked for.
        phenotypes: P names, without mixture.

    Raises:
        BadInputError: if the table lacks a threshold.
    """
    columns = [f"marker_{name}" for name in phenotypes]
    missing = [name for name in columns if name not in quality]
    if missing:
        raise BadInputError(
            f"tile quality must have columns {', '.join(missing)}; measure the tiles with these "
            "percentiles, or leave the phenotypes out"
        )
    return quality[columns].to_numpy(dtype=np.float64)
