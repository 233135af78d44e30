"""One row a donor: the trimmed mean of its tiles, for each recipe, marker, region and phenotype.

Enters: the tile features of one recipe and the tiles' quality. Leaves: the donor table, and the
wide table that statistics start from. Refuses: tables without the columns named below, a donor
twice. A donor with too few usable tiles is a row that says so, and without values in the wide
table.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from somaflow.donors.tile_features import ANY, FEATURES, SEPARATOR
from somaflow.donors.trimming import TRIMMED_SHARE, subsample_donor_means, trimmed_means
from somaflow.errors import BadInputError
from somaflow.phenotypes.calls import find_tiles

__all__ = [
    "ALL_REGIONS",
    "KEYS",
    "MIN_TILES",
    "TRIMMED_SHARE",
    "subsample_donor_means",
    "tabulate_donors",
    "trimmed_means",
    "widen",
]

ALL_REGIONS = "all"
KEYS = ("recipe", "marker", "region", "phenotype")
"""What a group of donors is, before the donor."""
MIN_TILES = 2
_COUNTS = ("n_tiles", "n_tiles_used", "n_cells", "tissue_mpx", "flag")
_PX_PER_MPX = 1e6


def tabulate_donors(
    tile_features: pd.DataFrame,
    quality: pd.DataFrame,
    recipe: str,
    min_tiles: int = MIN_TILES,
) -> pd.DataFrame:
    """Returns a row a marker, region, phenotype and donor: the donor's mean over its tiles.

    A value is the 20 % trimmed mean over the donor's tiles that pass quality and where the feature
    is defined. Every donor that has a tile of the marker has a row in each of its regions.

    Args:
        tile_features: of `measure_tile_features`.
        quality: of `judge_tiles`, with a row for each of these tiles.
        recipe: the name of what the cells come from; goes into every row.
        min_tiles: a donor with fewer usable tiles is flagged.

    Returns:
        recipe, marker, region ("all", then each that is named), phenotype ("any", then as in
        `tile_features`), donor, n_tiles, n_tiles_used (those that pass), n_cells and tissue_mpx (of
        those used), flag ("" or why there are too few tiles), then the features in the order of
        `FEATURES`, NaN where a phenotype does not have them or no tile defines them.

    Raises:
        BadInputError: if a column or a tile's quality is missing.
    """
    _check_columns(tile_features, quality)
    is_used = quality["passes"].to_numpy(dtype=bool)[find_tiles(tile_features["tile_id"], quality)]
    columns = _feature_columns(tile_features)
    parts = [
        _tabulate_group(tiles.assign(_used=is_used[place]), marker, region, columns, min_tiles)
        for marker, region, place, tiles in _groups(tile_features)
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["marker"])
    table.insert(0, "recipe", recipe)
    measured = {feature for _, feature in columns.values()}
    features = [name for name in FEATURES if name in measured]
    return table.reindex(columns=[*KEYS, "donor", *_COUNTS, *features])


def widen(donor_tables: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns one row a donor with a column a number, and what each column is.

    Args:
        donor_tables: of `tabulate_donors`, of one recipe or of several put together.

    Returns:
        The wide table: donor (sorted), then `<recipe>|<marker>|<region>|<phenotype>|<feature>`;
        values of flagged donors are NaN, and a column without any value is left out. And a row a
        column: column, recipe, marker, region, phenotype, feature, unit.

    Raises:
        BadInputError: if a column is missing, or a donor is there twice in a group.
    """
    keys = [*KEYS, "donor"]
    missing = [name for name in [*keys, "flag"] if name not in donor_tables]
    if missing:
        raise BadInputError(f"donor_tables must have columns {', '.join(missing)}")
    if donor_tables.duplicated(keys).any():
        twice = donor_tables.loc[donor_tables.duplicated(keys), keys].iloc[0]
        raise BadInputError(
            f"donor_tables must have each donor once a group, found twice: {', '.join(twice)}; "
            "put together tables of different recipes only"
        )
    features = [name for name in FEATURES if name in donor_tables]
    donors = pd.Index(sorted(donor_tables["donor"].unique()), name="donor")
    wide, about = {}, []
    for names, rows in donor_tables[donor_tables["flag"] == ""].groupby(list(KEYS), sort=False):
        place = donors.get_indexer(pd.Index(rows["donor"]))
        for feature in features:
            column = np.full(len(donors), np.nan)
            column[place] = rows[feature].to_numpy(dtype=np.float64)
            if np.isnan(column).all():
                continue
            name = SEPARATOR.join([*map(str, names), feature])
            wide[name] = column
            about.append([name, *names, feature, FEATURES[feature].unit])
    columns = pd.DataFrame(about, columns=["column", *KEYS, "feature", "unit"])
    return pd.DataFrame(wide, index=donors).reset_index(), columns


def _groups(
    tile_features: pd.DataFrame,
) -> Iterator[tuple[str, str, np.ndarray, pd.DataFrame]]:
    """Gives each marker and region with the places of all the marker's tiles, and these tiles."""
    for marker in sorted(tile_features["marker"].unique()):
        place = np.flatnonzero(tile_features["marker"] == marker)
        tiles = tile_features.iloc[place]
        named = sorted(set(tiles["region"].dropna()) - {""})
        for region in [ALL_REGIONS, *named]:
            yield marker, region, place, tiles


def _tabulate_group(
    tiles: pd.DataFrame,
    marker: str,
    region: str,
    columns: dict[str, tuple[str, str]],
    min_tiles: int,
) -> pd.DataFrame:
    """Returns the rows of one marker and region; `tiles` are all of the marker's."""
    codes, donors = pd.factorize(tiles["donor"], sort=True)
    is_here = np.ones(len(tiles), bool)
    if region != ALL_REGIONS:
        is_here = (tiles["region"] == region).to_numpy()
    is_used = is_here & tiles["_used"].to_numpy()
    values = tiles.loc[is_used, list(columns)].to_numpy(dtype=np.float64)
    means = trimmed_means(values, codes[is_used], len(donors))
    counts = _count_tiles(tiles, codes, len(donors), is_here, is_used, min_tiles)
    of_phenotype: dict[str, dict[str, np.ndarray]] = {}
    for column, (phenotype, feature) in zip(means.T, columns.values(), strict=True):
        of_phenotype.setdefault(phenotype, {})[feature] = column
    where = {"marker": marker, "region": region}
    return pd.concat(
        [
            pd.DataFrame({**where, "phenotype": phenotype, "donor": donors} | counts | features)
            for phenotype, features in of_phenotype.items()
        ]
    )


def _count_tiles(
    tiles: pd.DataFrame,
    codes: np.ndarray,
    n_donors: int,
    is_here: np.ndarray,
    is_used: np.ndarray,
    min_tiles: int,
) -> dict[str, object]:
    used = codes[is_used]
    n_used = np.bincount(used, minlength=n_donors)
    n_cells = np.bincount(used, tiles["n_cells"].to_numpy()[is_used], minlength=n_donors)
    tissue_px = np.bincount(used, tiles["tissue_px"].to_numpy()[is_used], minlength=n_donors)
    flags = [_flag(n_tiles, min_tiles) for n_tiles in n_used]
    return {
        "n_tiles": np.bincount(codes[is_here], minlength=n_donors),
        "n_tiles_used": n_used,
        "n_cells": n_cells.astype(np.int64),
        "tissue_mpx": tissue_px / _PX_PER_MPX,
        "flag": pd.array(flags, dtype="str"),
    }


def _flag(n_tiles: int, min_tiles: int) -> str:
    if n_tiles >= min_tiles:
        return ""
    return f"{n_tiles} tile{'' if n_tiles == 1 else 's'}, {min_tiles} needed"


def _feature_columns(tile_features: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Returns phenotype and feature of each column that holds one; "any" comes first."""
    found = {}
    for column in tile_features:
        phenotype, separator, feature = str(column).partition(SEPARATOR)
        if separator and feature in FEATURES:
            found[str(column)] = (phenotype, feature)
    return dict(sorted(found.items(), key=lambda item: item[1][0] != ANY))


def _check_columns(tile_features: pd.DataFrame, quality: pd.DataFrame) -> None:
    needed: dict[str, tuple[pd.DataFrame, Sequence[str]]] = {
        "tile features": (
            tile_features,
            ("tile_id", "donor", "marker", "region", "n_cells", "tissue_px"),
        ),
        "tile quality": (quality, ("tile_id", "passes")),
    }
    for table, (frame, names) in needed.items():
        missing = [name for name in names if name not in frame]
        if missing:
            raise BadInputError(
                f"{table} must have columns {', '.join(missing)}; "
                "take them from measure_tile_features and judge_tiles"
            )
    donors = tile_features["donor"]
    nameless = tile_features.loc[donors.isna() | (donors == ""), "tile_id"]
    if len(nameless):
        raise BadInputError(
            f"each tile must have a donor, found none for {nameless.iloc[0]} and "
            f"{len(nameless) - 1} more; give the study a donor table, or leave these tiles out"
        )
