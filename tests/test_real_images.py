"""Tests of the study on real images: its folds are sound, its files are somaflow's own."""

from pathlib import Path

import pandas as pd
import pytest

from somaflow.splits.record import load_splits
from somaflow.study import load_study
from tests.real_images import FOLDS, main, read_real_table, summarise_labs, write_real_study


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the manifest of two images a block; the images themselves are not needed."""
    blocks = {
        "lab-wue1": ["wue1-B1", "wue1-B3", "wue1-B5"],
        "lab-mue": ["lab-mue"],
        "lab-inns1": ["lab-inns1"],
        "dsb2018": ["dsb2018"],
        "another": ["another"],
    }
    rows = [
        {
            "name": f"{block}-{index}",
            "img": f"{block}-{index}_img.tif",
            "masks": f"{block}-{index}_masks.tif",
            "marker": "cFOS",
            "lab": lab,
            "block": block,
        }
        for lab, names in blocks.items()
        for block in names
        for index in range(2)
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


def test_folds_leave_a_whole_lab_out_of_training(data: Path) -> None:
    """Every image of the lab that a fold is named after is test; every block has one side."""
    table = read_real_table(data)
    for name, blocks in FOLDS.items():
        lab = name.replace("without-", "lab-")
        sides = {block: split for split, names in blocks.items() for block in names}
        assert set(table.donor) == set(sides)
        assert len(sides) == sum(len(names) for names in blocks.values())
        assert {"test"} == {sides[block] for block in table.donor[table.marker == lab]}


@pytest.mark.parametrize("fold", FOLDS)
def test_written_study_has_the_splits_of_its_fold(data: Path, tmp_path: Path, fold: str) -> None:
    """Study and splits are read back by somaflow itself and name exactly the fold's blocks."""
    study = load_study(write_real_study(data, tmp_path / "real", fold))
    assert study.splits.file is not None
    splits = load_splits(study.splits.file, read_real_table(data))
    assert {name: sorted(blocks) for name, blocks in FOLDS[fold].items()} == dict(splits.units)
    assert study.fine_tuning is not None


def test_folds_option_writes_a_study_of_each_fold(data: Path, tmp_path: Path) -> None:
    """`--folds` gives a folder a fold, each with its own outputs."""
    main([str(data), str(tmp_path / "real"), "--folds"])
    outputs = {
        name: load_study(tmp_path / "real" / name / "study.yaml").output.parent.name
        for name in FOLDS
    }
    assert {name: name for name in FOLDS} == outputs


def test_summary_gives_the_gain_over_the_baseline_on_the_same_images(
    data: Path, tmp_path: Path
) -> None:
    """The gain is the difference of pooled F1, also where the baseline has more splits."""
    path = write_real_study(data, tmp_path / "real")
    folder = path.parent / "output" / "evaluations"
    folder.mkdir(parents=True)
    for recipe, tp in (("baseline", 5), ("generic", 8)):
        counts = pd.DataFrame(
            {
                "tile_id": ["a", "b"],
                "donor": "lab-inns1",
                "marker": "lab-inns1",
                "recipe": recipe,
                "split": "test",
                "split_level": "donor",
                "tp": tp,
                "fp": 10 - tp,
                "fn": 10 - tp,
            }
        )
        if recipe == "baseline":
            counts = pd.concat([counts, counts.assign(tile_id=["c", "d"], split="train")])
        counts.to_parquet(folder / f"{recipe}.parquet", index=False)
    summary = summarise_labs(path).query("split == 'test'").set_index("recipe")
    assert 0.8 == pytest.approx(summary.f1_pooled["generic"])
    assert 0.3 == pytest.approx(summary.gain["generic"])
    assert 0.0 == summary.gain["baseline"]
