"""`python -m tests.real_images DATA DIR`: fine-tuning `tiny` on real images with human labels.

DATA is a folder with a `manifest.csv` (columns name, img, masks, marker, lab, block) of
single-channel fluorescence images; DIR gets `manifest.csv`, `splits.yaml` and `study.yaml` in
somaflow's own form. Each lab stands for a marker and each block (a run of neighbouring images) for
a donor; a block is not a donor, and no source tells the real ones. The images are nuclear stains
(DNA, cFOS), so each is given as the DAPI channel; there is no marker channel.

`--fold NAME` chooses who is trained on and who is scored; `--folds` writes a study of each fold to
DIR/NAME. Called again after `somaflow run study DIR/study.yaml`, it prints the scores per lab.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from somaflow.evaluation import compare, summarise
from somaflow.files import write_text
from somaflow.splits.record import Splits, format_splits
from somaflow.study import load_study

LABS = ("lab-wue1", "lab-mue", "lab-inns1", "dsb2018")

# Block wue1-B3 is val wherever its lab is trained on, and settings were chosen on it: it is test
# only where its whole lab is.
FOLDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "without-inns1": {
        "train": ["wue1-B1", "lab-mue", "dsb2018"],
        "val": ["wue1-B3"],
        "test": ["wue1-B5", "lab-inns1"],
    },
    "without-mue": {
        "train": ["wue1-B1", "lab-inns1", "dsb2018"],
        "val": ["wue1-B3"],
        "test": ["wue1-B5", "lab-mue"],
    },
    "without-wue1": {
        "train": ["lab-mue", "dsb2018"],
        "val": ["lab-inns1"],
        "test": ["wue1-B1", "wue1-B3", "wue1-B5"],
    },
}
"""Blocks of each split; a fold's name says which lab no training image comes from."""

# 300 steps, a minute on one core; chosen on val (docs/real-images.md).
_TRAINING = {
    "n_epochs": 30,
    "images_per_epoch": 40,
    "batch_size": 4,
    "crop_px": 192,
    "learning_rate": 0.005,
    "noise_range": 0.3,
    "normalisation": "background",
    "score_every": 5,
}
# Fine-tuned nets are right at 0 or above, `tiny` itself far below: both are given their best.
_THRESHOLDS = {
    "cellprob_threshold": [-3.0, -2.0, -1.0, 0.0, 0.5, 1.0, 1.5],
    "flow_threshold": [0.4, 0.8],
    "min_size_px": [15],
}
_METRICS = ["f1_pooled", "precision_pooled", "recall_pooled", "ap50_image_mean"]


def read_real_table(data: Path) -> pd.DataFrame:
    """The images of the labs: tile_id marker donor dapi_path marker_path labels_path.

    Args:
        data: folder with the images and their `manifest.csv`.
    """
    images = pd.read_csv(data / "manifest.csv")
    images = images[images.lab.isin(LABS)]
    return pd.DataFrame(
        {
            "tile_id": images.name,
            "marker": images.lab,
            "donor": images.block,
            "dapi_path": [str((data / name).resolve()) for name in images.img],
            "marker_path": "",
            "labels_path": [str((data / name).resolve()) for name in images.masks],
        }
    )


def write_real_study(data: Path, folder: Path, fold: str = "without-inns1") -> Path:
    """Writes manifest, splits and study of one fold.

    Args:
        data: folder with the images; nothing is written there.
        folder: where the study and its outputs go.
        fold: one of `FOLDS`.

    Returns:
        Path of the study file.
    """
    table = read_real_table(data)
    write_text(folder / "manifest.csv", table.to_csv(index=False))
    write_text(folder / "splits.yaml", format_splits(_make_splits(table, fold)))
    study = {
        "name": f"real images {fold}",
        "tiles": {"root": "manifest.csv", "layout": "manifest"},
        "output": "output",
        "splits": {"file": "splits.yaml"},
        "fine_tuning": {"recipes": ["generic"], "settings": _TRAINING},
        "thresholds": {"recipes": ["baseline", "generic"], **_THRESHOLDS},
        "seed": 0,
    }
    path = folder / "study.yaml"
    write_text(path, yaml.safe_dump(study, sort_keys=False))
    return path


def _make_splits(table: pd.DataFrame, fold: str) -> Splits:
    units = {split: sorted(blocks) for split, blocks in FOLDS[fold].items()}
    sizes = {split: int(table.donor.isin(blocks).sum()) for split, blocks in units.items()}
    shares = {split: n / len(table) for split, n in sizes.items()}
    return Splits("donor", 0, shares, units)


def summarise_labs(study_path: Path) -> pd.DataFrame:
    """Scores of each recipe per split and lab, with differences to the baseline's where trained.

    Intervals are over images: a lab has one to three blocks, too few to resample. Images of a block
    resemble each other, so these intervals are too narrow.

    Args:
        study_path: study file whose evaluations are there.

    Returns:
        Columns recipe split lab n_images n_reference, the metrics, f1_low f1_high (95 %), and
        gain gain_low gain_high: F1 minus that of `baseline` on the same images.
    """
    counts = read_counts(study_path)
    keys = ["recipe", "split", "marker"]
    gains = pd.concat(
        [_gains(counts, str(recipe)) for recipe in counts.recipe.unique()], ignore_index=True
    )
    scores = summarise(counts, by=keys).merge(gains, on=keys)
    scores = scores.rename(
        columns={"marker": "lab", "f1_pooled_low": "f1_low", "f1_pooled_high": "f1_high"}
    )
    sizes = ["n_images", "n_reference"]
    columns = ["recipe", "split", "lab", *sizes, *_METRICS, "f1_low", "f1_high"]
    return scores[[*columns, "gain", "gain_low", "gain_high"]]


def read_counts(study_path: Path) -> pd.DataFrame:
    """Counts of every recipe on every image of a study that has run; images are resampled.

    Args:
        study_path: study file whose evaluations are there.
    """
    paths = sorted(load_study(study_path).output.glob("evaluations/*.parquet"))
    counts = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    return counts.assign(split_level="image")


def _gains(counts: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """F1 of a recipe minus that of the baseline, per split and marker."""
    by = ["split", "marker"]
    scored = counts[counts.recipe == recipe]
    # What thresholds make is not scored on train.
    baseline = counts[(counts.recipe == "baseline") & counts.split.isin(scored.split)]
    difference = compare(baseline, scored, by=by)
    columns = {f"f1_pooled_difference{end}": f"gain{end}" for end in ("", "_low", "_high")}
    return difference.assign(recipe=recipe).rename(columns=columns)[
        ["recipe", *by, *columns.values()]
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the studies, or prints the scores of those that have run."""
    parser = argparse.ArgumentParser(prog="python -m tests.real_images", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the images and manifest.csv")
    parser.add_argument("folder", type=Path, help="where study, splits and outputs go")
    parser.add_argument("--fold", choices=list(FOLDS), default="without-inns1")
    parser.add_argument("--folds", action="store_true", help="every fold, in a folder of its name")
    options = parser.parse_args(arguments)
    chosen = {name: options.folder / name for name in FOLDS} if options.folds else {}
    for fold, folder in (chosen or {options.fold: options.folder}).items():
        if (folder / "output" / "evaluations").is_dir():
            print(f"{folder}\n{summarise_labs(folder / 'study.yaml').round(3).to_string()}")
        else:
            print(write_real_study(options.data, folder, fold))


if __name__ == "__main__":
    main()
