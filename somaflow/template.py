"""The study file that `somaflow init` writes for people to fill in."""

from pathlib import Path

from somaflow.errors import StudyError
from somaflow.files import write_text

_TEMPLATE = """\
# A somaflow study. Paths may be relative to this file. `somaflow check study.yaml` lists every
# problem at once; `somaflow run study study.yaml` does the work.
name: my-study

# The tiles to segment.
#   rosmap    root/GFAP/GFAP/<donor>/<Grey|White>/Snap-1.tiff_files/Snap-1_b0c0...tiff and b0c1
#   flat      root/gfap_1.tiff, gfap_1_marker.tiff, gfap_1_cellbodies.npy
#   manifest  root is a CSV with columns tile_id, marker, dapi_path, marker_path and, if you have
#             them, donor, region, labels_path, dapi_channel, marker_channel
tiles:
  root: tiles
  layout: rosmap

# Labelled tiles, if they lie apart. Their numbers are no donors: name the donors in a CSV with
# columns tile_id,donor. Remove this part if the tiles above have labels, or if you have none.
labelled:
  root: labelled
  layout: flat
  donor_table: labelled/donors.csv

# Donor-level variables, one row a donor; used by the donor statistics.
# traits: traits.csv

# All results; made if absent.
output: output

# Train, val and test by donor. Without donors, say `level: image`: scores are then named so.
splits:
  level: donor
  train: 0.6
  val: 0.2
  test: 0.2

# What to score. `tiny` is embedded; `cpsam_v2` is fetched by Cellpose; a path is a checkpoint.
recipes:
  - name: baseline
    model: tiny
    flow_threshold: 0.4
    cellprob_threshold: 0.0
    min_size_px: 15

# What to train (e1-recipes). Remove this part to score the recipes above alone.
#   generic       all markers            per-marker   one training each, or name one: GFAP-only
#   without-dapi  the marker alone       balanced     every marker drawn equally often
#   two-stage     generic, then each marker
# Per marker the recipe that is best on val is the `hybrid`. Defaults are Cellpose's: 100 epochs, a
# crop a step, learning rate 1e-5 for Cellpose-SAM.
fine_tuning:
  base: baseline
  recipes: [generic, per-marker, without-dapi, balanced, two-stage]
  seeds: [0]
  settings: {n_epochs: 100}

# How few labels are enough (e2-label-budget): tiles a marker, drawn so many times.
label_budgets:
  budgets: [2, 5, 10, 20, 30]
  repeats: 5

# Which cells to leave out (e3-gating), which thresholds (e4-thresholds); {} = the built-in grids.
gating: {}
thresholds: {}

# What segments all tiles: a recipe above, or one that was made: generic, hybrid, hybrid-gated,
# hybrid-best-f1, hybrid-precise ... Those of compare_with segment all tiles too: e5-donors then
# says whether conclusions about donors are more reliable with the first.
inference_recipe: hybrid
compare_with: [baseline]

# What is said of donors. Without pixel_size_um densities are per megapixel. The columns of the
# trait table are those of ROSMAP, unless a codebook (a YAML file) says what they mean.
donor_statistics:
  # pixel_size_um: 0.5
  # codebook: codebook.yaml
  # expected_tiles: expected.csv      # columns donor,marker,tiles
  traits: [braaksc, ceradsc, cogdx, dcfdx_lv, plaq_d, plaq_n, nft, gpath]
  covariates: [age_death, msex, pmi, educ]

# The dashboard and the logs of runs show donors by codes, and no value of a trait; true shows them.
show_donors: false

# auto: a GPU where there is one; cuda: fail where there is none; cpu.
device: auto
seed: 0
"""


def write_template(folder: Path) -> Path:
    """Writes `<folder>/study.yaml` and returns its path.

    Raises:
        StudyError: if there is one already; it is left as it is.
    """
    path = folder / "study.yaml"
    if path.exists():
        raise StudyError(f"init must not overwrite a study, {path} exists; choose another folder")
    write_text(path, _TEMPLATE)
    return path
