"""Makes the outputs of a release, small enough to be kept: `python tests/upgrades/make.py FOLDER`.

Run with that release's code on PYTHONPATH, and no other study in `PLACE`. Enters nothing; leaves
`FOLDER/study.tar.xz`, a study of four synthetic tiles run to its end, and `FOLDER/versions.json`,
what it was run with.
"""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pandas as pd

import somaflow
from somaflow.keys import STEP_VERSIONS
from somaflow.synthetic import write_study

# Results hold absolute paths of tiles; this one says nothing of a machine.
PLACE = Path("/tmp/somaflow-release")
LIBRARIES = ("cellpose", "torch", "numpy", "scipy", "pandas", "statsmodels", "zarr", "pyarrow")
# What Prefect keeps for itself, what is large and not read again, and locks.
_LEFT_OUT = ("output/prefect", "output/task-results", "output/logs", "output/reports")
_LEFT_OUT_ENDINGS = (".pdf", ".png", ".lock")
_STUDY = """\
name: four tiles
tiles: {root: tiles, layout: flat, donor_table: tiles/donors.csv}
traits: traits.csv
output: output
markers: [NeuN]
splits: {train: 0.5, val: 0.25, test: 0.25}
fine_tuning:
  recipes: [generic]
  settings: {n_epochs: 1, images_per_epoch: 2, batch_size: 1, crop_px: 64}
gating:
  recipes: [generic]
  min_area_px: [null, 30]
  max_area_px: [null]
  min_marker_quantile: [null]
thresholds:
  recipes: [generic]
  flow_threshold: [0.4]
  cellprob_threshold: [0.0, 1.0]
  min_size_px: [15]
inference_recipe: generic-gated
compare_with: [baseline]
donor_statistics:
  traits: [nft]
  covariates: []
  phenotypes: [p75]
  min_tiles: 1
  n_resamples: 200
  n_tile_draws: 20
device: cpu
shard_tiles: 2
n_resamples: 100
"""


def main(folder: Path) -> None:
    """Writes the study, runs it, and keeps what a later release has to read."""
    _write_inputs(PLACE)
    run = [sys.executable, "-m", "somaflow", "run", "study", str(PLACE / "study.yaml")]
    # Its folder comes before PYTHONPATH: that must be the release's too.
    subprocess.run(run, check=True, cwd=Path(somaflow.__file__).parents[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "study.tar.xz", "w:xz", preset=9) as archive:
        for path in sorted(path for path in PLACE.rglob("*") if path.is_file()):
            name = path.relative_to(PLACE).as_posix()
            if not name.startswith(_LEFT_OUT) and not name.endswith(_LEFT_OUT_ENDINGS):
                _add(archive, path, name)
    made_with = {
        "somaflow": somaflow.__version__,
        "steps": STEP_VERSIONS,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    (folder / "versions.json").write_text(json.dumps(made_with, indent=2) + "\n")
    shutil.rmtree(PLACE)


def _write_inputs(place: Path) -> None:
    """Of a synthetic study the NeuN tile of each donor, with labels and traits."""
    drawn = place.with_name(f"{place.name}-drawn")
    write_study(drawn, n_donors=4, n_tiles=16, height_px=96, width_px=96, labelled_tiles=16)
    (place / "tiles").mkdir(parents=True)
    for path in (drawn / "labelled").glob("neun_*"):
        path.rename(place / "tiles" / path.name)
    donors = pd.read_csv(drawn / "labelled/donors.csv", dtype=str)
    own = donors[donors.tile_id.str.lower().str.startswith("neun_")]
    own.to_csv(place / "tiles/donors.csv", index=False)
    (drawn / "traits.csv").rename(place / "traits.csv")
    (place / "study.yaml").write_text(_STUDY)
    shutil.rmtree(drawn)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """A file without its owner."""
    content = path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(content), int(path.stat().st_mtime)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
