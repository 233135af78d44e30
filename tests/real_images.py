"""`python -m tests.real_images DATA DIR`: a study on real images with human labels.

DATA is a folder with a `manifest.csv` (columns name, img, masks, marker, lab, block) of
single-channel fluorescence images; DIR gets `manifest.csv` and `study.yaml` in somaflow's own form.
Each lab stands for a marker and each block (a run of neighbouring images) for a donor. The images
are nuclear stains (DNA, cFOS), so each is given as the DAPI channel; there is no marker channel.
Called again after `somaflow run study DIR/study.yaml`, it prints the scores per lab.
"""

import sys
from pathlib import Path

import pandas as pd
import yaml

from somaflow.evaluation import summarise
from somaflow.files import write_text
from somaflow.study import load_study

LABS = ("lab-wue1", "lab-mue", "lab-inns1", "dsb2018")


def write_real_study(data: Path, folder: Path) -> Path:
    """Writes manifest and study for the brain images of three labs and the nuclei set.

    Args:
        data: folder with the images; nothing is written there.
        folder: where the study and its outputs go.

    Returns:
        Path of the study file.
    """
    images = pd.read_csv(data / "manifest.csv")
    images = images[images.lab.isin(LABS)]
    manifest = pd.DataFrame(
        {
            "tile_id": images.name,
            "marker": images.lab,
            "donor": images.block,
            "dapi_path": [str((data / name).resolve()) for name in images.img],
            "marker_path": "",
            "labels_path": [str((data / name).resolve()) for name in images.masks],
        }
    )
    write_text(folder / "manifest.csv", manifest.to_csv(index=False))
    study = {
        "name": "real images",
        "tiles": {"root": "manifest.csv", "layout": "manifest"},
        "output": "output",
        "seed": 0,
    }
    path = folder / "study.yaml"
    write_text(path, yaml.safe_dump(study, sort_keys=False))
    return path


def summarise_labs(study_path: Path) -> pd.DataFrame:
    """Scores per lab over all of its images, whatever their split: nothing was trained on any."""
    (path,) = load_study(study_path).output.glob("evaluations/*.parquet")
    columns = ["marker", "n_images", "n_donors", "n_reference", "n_predicted"]
    metrics = ["f1_pooled", "precision_pooled", "recall_pooled", "ap50_image_mean"]
    scores = summarise(pd.read_parquet(path), by="marker")
    return scores[[*columns, *metrics]].rename(columns={"marker": "lab", "n_donors": "n_blocks"})


if __name__ == "__main__":
    study_file = Path(sys.argv[2]) / "study.yaml"
    if study_file.parent.joinpath("output", "evaluations").is_dir():
        print(summarise_labs(study_file).round(3).to_string(index=False))
    else:
        print(write_real_study(Path(sys.argv[1]), study_file.parent))
