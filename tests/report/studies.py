"""Studies as flows leave them on disk, small, and with everything that can go wrong in them."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml

from somaflow.evaluation.comparison import compare_recipes
from somaflow.experiments.pages import describe_recipes
from somaflow.experiments.results import Results, write_results
from somaflow.figures import draw_associations, draw_coverage
from somaflow.files import write_bytes, write_text
from somaflow.ledger import ShardRecord, TileRecord, plan_shards, write_plan, write_record
from somaflow.paths import DONORS
from somaflow.study import Study, dump_study
from tests.experiments.tables import prepared_tiles, random_counts
from tests.figures.donor_tables import associations, coverage

REFUSED, QUARANTINED = "GFAP_01_Snap-3", "GFAP_01_Snap-1"
EVIL = (
    "<script>alert(1)</script> *not* [a link](https://example.org/x.png) | ![x](http://x.org/y.png)"
)
MARKERS = ("GFAP", "OLIG2")


def make_study(folder: Path, level: Literal["donor", "image"] = "donor") -> Study:
    """A study of which nothing has run."""
    content = {
        "name": "Cortex 1",
        "tiles": {"root": str(folder / "tiles")},
        "output": str(folder / "output"),
        "splits": {"level": level},
    }
    return Study.model_validate(content)


def run_everything(study: Study) -> Study:
    """Leaves what the flows leave, with a refused and a quarantined tile among it."""
    prepare(study)
    run_recipes(study)
    infer(study)
    analyse_donors(study)
    return study


def tile_table() -> pd.DataFrame:
    """Four tiles of two donors and markers each, one refused for an evil reason."""
    rows = [
        {
            "tile_id": f"{marker}_{donor}_Snap-{number}",
            "donor": donor,
            "marker": marker,
            "region": "grey",
            "height_px": 64,
            "width_px": 64,
            "status": "ok",
            "reason": "",
            "source": "tiles",
        }
        for marker in MARKERS
        for donor in ("01", "02")
        for number in range(4)
    ]
    table = pd.DataFrame(rows)
    table.loc[table.tile_id == REFUSED, ["status", "reason"]] = ["refused", EVIL]
    return table


def prepare(study: Study) -> None:
    """What e0-prepare leaves."""
    paths = study.paths
    write_text(paths.study, dump_study(study))
    write_bytes(paths.tiles, tile_table().to_parquet(index=False))
    level = study.splits.level
    write_text(paths.splits, yaml.safe_dump({"level": level, "seed": 0}))
    tiles = prepared_tiles({(m, s): 4 for m in MARKERS for s in ("train", "val", "test")})
    tiles = tiles.assign(n_cells=3, split_level=level)
    write_bytes(paths.prepared("0a") / "prepared.parquet", tiles.to_parquet(index=False))


def publish(study: Study, name: str, results: Results, key: str = "0b") -> None:
    """Writes a page and says that it is the current one."""
    write_results(results, study.paths.experiment(name, key))
    write_text(study.paths.current_experiment(name), f"{key}\n")


def run_recipes(study: Study) -> None:
    """What e1-recipes leaves, one training failed."""
    tiles = prepared_tiles({(m, s): 6 for m in MARKERS for s in ("val", "test")})
    counts = random_counts(tiles, ["baseline", "generic"])
    scores = compare_recipes(counts, "baseline", 100)
    nothing = pd.DataFrame()
    failures = ["OLIG2-only: the loss was not finite"]
    publish(
        study,
        "e1-recipes",
        describe_recipes(study.name, scores, nothing, nothing, failures, 0.5),
    )


def infer(study: Study) -> None:
    """What e5-inference leaves, one tile quarantined."""
    paths, tiles = study.paths, tile_table()
    plan = plan_shards(tiles[tiles.status == "ok"], 64)
    recipe = {"name": "baseline", "weights_sha256": "ab" * 32}
    write_plan(paths, "0c", plan, {"recipe": recipe, "versions": {"torch": "9.9"}})
    records = tuple(
        TileRecord(tile_id, 0, "the net gave NaN") if tile_id == QUARANTINED
        else TileRecord(tile_id, 5)
        for tile_id in plan.tile_id
    )  # fmt: skip
    write_record(paths, ShardRecord("0c", 0, "64x64", 0, "cpu", "", "", records))


def analyse_donors(study: Study) -> None:
    """What e5-donors leaves: coverage with gaps, a flagged donor, and an open verdict."""
    page = Results("Donors of Cortex 1")
    gaps = coverage(8, MARKERS)
    page.add_table("coverage", gaps, gaps.astype(str))
    page.add_picture("coverage", draw_coverage(gaps), "Tiles by donor and marker")
    tested = associations(markers=MARKERS)
    page.add_words("### Associations")
    page.add_table("associations", tested, tested.head(3).astype(str))
    page.add_picture("associations", draw_associations(tested), "Rho of features and traits")
    donors = pd.DataFrame(
        {"donor": ["01", "02"], "n_tiles": [4, 1], "flag": ["", "1 tile, 2 needed"]}
    )
    page.tables["donors"] = donors.assign(positive_fraction=[0.5, np.nan])
    page.tables["stability"] = pd.DataFrame(
        {"trait": ["nft", "gpath"], "verdict": ["more stable", "not conclusive"]}
    )
    publish(study, DONORS, page)
