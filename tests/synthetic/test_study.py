from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from somaflow.errors import StudyError
from somaflow.files import hash_file
from somaflow.synthetic.study import write_study

Progress = Callable[[int, int], None]
SMALL = {
    "n_donors": 3,
    "n_tiles": 14,
    "seed": 4,
    "height_px": 96,
    "width_px": 128,
    "labelled_tiles": 8,
}


def hash_tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_small(
    folder: Path, changes: Mapping[str, int] | None = None, progress: Progress | None = None
) -> Path:
    return write_study(folder, progress=progress, **(SMALL | dict(changes or {})))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("synthetic") / "study").parent


def test_study_file_names_its_parts(study: Path) -> None:
    """study.yaml has exactly the documented keys, and what it names is there."""
    expected = {
        "name": "synthetic",
        "tiles": {"root": "tiles", "layout": "rosmap"},
        "labelled": {"root": "labelled", "layout": "flat", "donor_table": "labelled/donors.csv"},
        "traits": "traits.csv",
        "output": "output",
        "shard_tiles": 16,
        "seed": 4,
    }
    assert expected == yaml.safe_load((study / "study.yaml").read_text())
    for name in ("tiles", "labelled/donors.csv", "traits.csv", "truth.yaml"):
        assert (study / name).exists()


def test_study_tiles_are_grey_stored_as_rgb_with_metadata_beside(study: Path) -> None:
    """Each tile has two (Y, X, 3) uint8 files of equal planes, each with its metadata."""
    files = sorted((study / "tiles").rglob("*.tiff"))
    assert 2 * SMALL["n_tiles"] == len(files)
    for path in files:
        content = tifffile.imread(path)
        assert ((96, 128, 3), np.uint8) == (content.shape, content.dtype)
        assert (content[..., :1] == content).all()
        assert path.with_name(path.name + "_metadata.xml").is_file()


def test_study_labelled_tiles_are_copies_of_tiles_of_the_tree(study: Path) -> None:
    """A labelled tile has the bytes of the tile with its snap number, and labels of its size."""
    table = pd.read_csv(study / "labelled/donors.csv", dtype=str)
    assert 8 == len(table)
    for stem, donor in zip(table["tile_id"], table["donor"], strict=True):
        snap = stem.split("_")[1]
        (folder,) = (study / "tiles").glob(f"*/*/{donor}/*/Snap-{snap}.tiff_files")
        assert stem.split("_")[0].upper() == folder.parts[-4].upper()
        (dapi,) = folder.glob("*b0c0*.tiff")
        (marker,) = folder.glob("*b0c1*.tiff")
        assert hash_file(dapi) == hash_file(study / f"labelled/{stem}.tiff")
        assert hash_file(marker) == hash_file(study / f"labelled/{stem}_marker.tiff")
        labels = np.load(study / f"labelled/{stem}_cellbodies.npy")
        assert ((96, 128), np.uint16) == (labels.shape, labels.dtype)


def test_study_truth_counts_the_labelled_cells(study: Path) -> None:
    """truth.yaml has the count of every tile, and labels agree with it."""
    cells = yaml.safe_load((study / "truth.yaml").read_text())["cells"]
    assert SMALL["n_tiles"] == len(cells)
    by_snap = {name.rsplit("-", 1)[1]: count for name, count in cells.items()}
    for path in sorted((study / "labelled").glob("*.npy")):
        assert by_snap[path.name.split("_")[1]] == np.load(path).max()


def test_study_truth_states_effects_densities_and_optics(study: Path) -> None:
    """truth.yaml says which correlations are real and what each donor was given."""
    truth = yaml.safe_load((study / "truth.yaml").read_text())
    stated = {(row["marker"], row["trait"]): row["rho_spearman"] for row in truth["effects"]}
    assert {("GFAP", "plaq_n"): 0.9, ("NeuN", "braaksc"): -0.85} == stated
    donors = {path.name for path in (study / "tiles").glob("*/*/*")}
    assert donors | {truth["donor_without_tiles"]} == set(truth["density_multipliers"])
    assert set(truth["density_multipliers"]) == set(truth["optics"])


def test_study_trait_table_has_one_donor_without_tiles(study: Path) -> None:
    """Ids in the table are numbers without leading zeros; one of them has no folder."""
    table = pd.read_csv(study / "traits.csv")
    folders = {int(path.name) for path in (study / "tiles").glob("*/*/*")}
    assert 1 == len(set(table["projid"]) - folders)
    assert not folders - set(table["projid"])
    assert any(path.name.startswith("00") for path in (study / "tiles").glob("*/*/*"))


def test_study_of_the_same_arguments_is_the_same_bytes(study: Path, tmp_path: Path) -> None:
    """Every file of a second study with the same arguments equals the first, byte by byte."""
    write_small(tmp_path / "again")
    assert hash_tree(study) == hash_tree(tmp_path / "again")


def test_study_of_another_seed_differs(study: Path, tmp_path: Path) -> None:
    """Another seed gives other pixels in files of the same names."""
    write_small(tmp_path / "other", {"seed": 5})
    first, second = hash_tree(study), hash_tree(tmp_path / "other")
    assert set(first) == set(second)
    tiles = [name for name in first if name.endswith(".tiff")]
    assert not any(first[name] == second[name] for name in tiles)


def test_study_written_twice_rewrites_nothing(tmp_path: Path) -> None:
    """A finished study is left as it is, edits of study.yaml included."""
    path = write_small(tmp_path / "study")
    path.write_text(path.read_text() + "# mine\n")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert path == write_small(tmp_path / "study")
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


def test_study_cut_short_is_finished_by_a_second_run(study: Path, tmp_path: Path) -> None:
    """Writing that stopped after three tiles goes on to the same bytes."""

    class Killed(Exception):
        pass

    def stop_early(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        write_small(tmp_path / "study", progress=stop_early)
    assert not (tmp_path / "study/truth.yaml").exists()
    write_small(tmp_path / "study")
    assert hash_tree(study) == hash_tree(tmp_path / "study")


def test_study_reports_its_progress(tmp_path: Path) -> None:
    """The callback hears of every tile, in order."""
    heard: list[tuple[int, int]] = []
    write_study(
        tmp_path, n_donors=2, n_tiles=3, height_px=64, width_px=64,
        progress=lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert [(1, 3), (2, 3), (3, 3)] == heard


def test_study_with_fewer_tiles_than_donors_is_written(tmp_path: Path) -> None:
    """Donors without tiles are in the trait table all the same."""
    write_study(tmp_path, n_donors=5, n_tiles=2, height_px=64, width_px=64)
    assert 6 == len(pd.read_csv(tmp_path / "traits.csv"))
    assert 2 == len(list((tmp_path / "tiles").glob("*/*/*")))


@pytest.mark.parametrize(
    ("name", "value", "low"),
    [("n_donors", 0, 1), ("n_tiles", 0, 1), ("height_px", 63, 64), ("width_px", 63, 64),
     ("seed", -1, 0), ("labelled_tiles", -1, 0)],
)  # fmt: skip
def test_study_refuses_numbers_out_of_range(
    tmp_path: Path, name: str, value: int, low: int
) -> None:
    """The message names the argument, its least value and the one given; nothing is written."""
    with pytest.raises(StudyError, match=f"{name} must be at least {low}, got {value}"):
        write_small(tmp_path / "study", {name: value})
    assert not (tmp_path / "study").exists()


def test_study_refuses_more_labels_than_tiles_and_lists_every_problem(tmp_path: Path) -> None:
    """All problems come in one message."""
    with pytest.raises(StudyError, match=r"n_donors.*labelled_tiles must not exceed n_tiles"):
        write_study(tmp_path, n_donors=0, n_tiles=4, labelled_tiles=5)


def test_study_refuses_a_folder_of_another_study(tmp_path: Path) -> None:
    """A folder drawn with another seed, or a study of one's own, is left untouched."""
    write_small(tmp_path / "synthetic")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/study.yaml").write_text("name: mine\n")
    for folder in ("synthetic", "own"):
        before = hash_tree(tmp_path / folder)
        with pytest.raises(StudyError, match="choose another folder"):
            write_small(tmp_path / folder, {"seed": 9})
        assert before == hash_tree(tmp_path / folder)


def test_study_refuses_a_folder_with_tiles_of_unknown_origin(tmp_path: Path) -> None:
    """Tiles without a study.yaml are somebody's data; nothing is mixed into them."""
    (tmp_path / "tiles").mkdir()
    with pytest.raises(StudyError, match="already holds tiles"):
        write_small(tmp_path)
    assert ["tiles"] == [path.name for path in tmp_path.iterdir()]
