"""Where a study's files name donors, and that none of them is missed."""

from pathlib import Path

import pandas as pd
import pytest

from somaflow.privacy.names import find_donor_names, find_trait_cells
from somaflow.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study without any file yet, of both kinds of tiles."""
    (tmp_path / "labelled").mkdir()
    return Study.model_validate(
        {
            "name": "s",
            "tiles": {"root": tmp_path / "tiles"},
            "labelled": {
                "root": tmp_path / "labelled",
                "layout": "flat",
                "donor_table": tmp_path / "donors.csv",
            },
            "traits": tmp_path / "traits.csv",
            "donor_statistics": {"expected_tiles": tmp_path / "expected.csv"},
            "splits": {"file": tmp_path / "splits.yaml"},
            "output": tmp_path / "output",
        }
    )


def test_study_without_files_names_nobody(study: Study) -> None:
    """What is not there is its own reader's matter."""
    assert set() == find_donor_names(study)
    assert set() == find_trait_cells(study)


def test_folders_of_donors_are_found_before_any_table_is(study: Study) -> None:
    """Good ids, bad ones that discovery refuses, and numbers at a wrong depth; no region."""
    for place in (
        "GFAP/GFAP/00900001/Grey",
        "GFAP/GFAP/1234567890/White",
        "gfap/gfap/ROS 12",
        "GFAP/777777/Grey",
        "old/GFAP/GFAP/888888/Grey",
    ):
        (study.tiles.root / place).mkdir(parents=True)
    assert {"00900001", "1234567890", "ROS 12", "777777", "888888"} <= find_donor_names(study)
    assert not {"Grey", "White", "GFAP"} & find_donor_names(study)


def test_tables_of_donors_are_found(study: Study, tmp_path: Path) -> None:
    """Donor table, expected tiles, splits, former results; the trait table by its codebook."""
    (tmp_path / "donors.csv").write_text("tile_id,donor\ngfap_1,a1111\n")
    (tmp_path / "expected.csv").write_text("donor,marker,tiles\nb2222,GFAP,3\n")
    (tmp_path / "traits.csv").write_text("projid;braaksc\nc3333;5\n")
    (tmp_path / "splits.yaml").write_text("donors: {train: [00440044], val: [e5555], test: []}\n")
    (tmp_path / "output").mkdir()
    pd.DataFrame({"donor": ["f6666", ""]}).to_parquet(study.paths.tiles)
    expected = {"a1111", "b2222", "c3333", "00440044", "e5555", "f6666"}
    assert expected == find_donor_names(study)


def test_manifest_names_donors(study: Study, tmp_path: Path) -> None:
    """Of a folder with manifest.csv, or of the file itself."""
    (tmp_path / "tiles").mkdir()
    path = tmp_path / "tiles" / "manifest.csv"
    path.write_text("tile_id,marker,donor,dapi_path\nx,GFAP,g7777,x.tif\n")
    for root in (path, path.parent):
        tiles = study.tiles.model_copy(update={"root": root, "layout": "manifest"})
        assert {"g7777"} == find_donor_names(study.model_copy(update={"tiles": tiles}))


def test_cells_of_the_trait_table_are_all_but_the_ids(study: Study, tmp_path: Path) -> None:
    """What a message may quote; also of columns that no codebook knows."""
    (tmp_path / "traits.csv").write_text("projid,braaksc,other\n00900001,n.d.,x y\n00900002,5,\n")
    assert {"n.d.", "5", "x y"} == find_trait_cells(study)


def test_ids_of_other_registers_are_ids(study: Study, tmp_path: Path) -> None:
    """A trait table often names its donors twice."""
    (tmp_path / "traits.csv").write_text("projid,individualID,nft\n00900001,R1234567,1234.5\n")
    assert {"00900001", "R1234567"} == find_donor_names(study)


def test_table_without_a_header_gives_nothing_away(study: Study, tmp_path: Path) -> None:
    """Its first row would be quoted as the names of its columns."""
    (tmp_path / "traits.csv").write_text("00900001,3,n.d.\n00900002,4,x\n")
    assert {"00900001", "00900002"} <= find_donor_names(study)
    assert {"3", "n.d.", "4", "x"} <= find_trait_cells(study)


def test_broken_tables_do_not_stop_the_search(study: Study, tmp_path: Path) -> None:
    """One that cannot be read says so elsewhere; the others are read."""
    (tmp_path / "donors.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "splits.yaml").write_text("donors: [")
    (tmp_path / "output").mkdir()
    study.paths.tiles.write_text("no parquet")
    (tmp_path / "expected.csv").write_text("donor,marker,tiles\nb2222,GFAP,3\n")
    assert {"b2222"} == find_donor_names(study)
