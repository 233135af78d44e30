"""The splits as an object and as a file."""

import pandas as pd
import pytest
import yaml

from somaflow.errors import SplitError
from somaflow.splits import Splits, describe_balance, load_splits, make_splits, save_splits
from tests.splits.tables import FRACTIONS, tabulate, tabulate_even, tabulate_study


@pytest.fixture
def table() -> pd.DataFrame:
    """120 tiles whose donors have leading zeros."""
    return tabulate_study()


@pytest.mark.parametrize("level", ["donor", "image"])
def test_splits_come_back_from_their_file(table, tmp_path, level):
    """Level, seed, fractions, units and counts survive saving and loading, ids as texts."""
    splits = make_splits(table, FRACTIONS, seed=7, level=level)
    save_splits(splits, tmp_path / "splits.yaml")
    loaded = load_splits(tmp_path / "splits.yaml", table)
    assert splits == loaded
    assert splits.n_tiles == loaded.n_tiles
    assert splits.n_tiles == load_splits(tmp_path / "splits.yaml").n_tiles


def test_splits_file_can_be_read_by_any_yaml_reader(table, tmp_path):
    """A plain YAML reader finds the same donors as texts, and tile counts per split and marker."""
    splits = make_splits(table, FRACTIONS)
    save_splits(splits, tmp_path / "splits.yaml")
    content = yaml.safe_load((tmp_path / "splits.yaml").read_text())
    own = ["level", "seed", "fractions", "donors", "n_tiles"]
    assert ["schema_version", "somaflow", *own] == list(content)
    assert splits.units == content["donors"]
    assert 120 == sum(n for counts in content["n_tiles"].values() for n in counts.values())


def test_splits_file_of_images_warns_that_it_is_not_donor_level(table, tmp_path):
    """An image-level file says so in its header; a donor-level file carries no such warning."""
    for level in ("image", "donor"):
        save_splits(make_splits(table, FRACTIONS, level=level), tmp_path / f"{level}.yaml")
    text = (tmp_path / "image.yaml").read_text()
    assert text.startswith("# image-level splits")
    assert "WARNING" in text
    assert "WARNING" not in (tmp_path / "donor.yaml").read_text()


def test_splits_file_keeps_unquoted_ids_as_they_are_typed(tmp_path):
    """A donor 00246264 typed without quotes is no octal number."""
    (tmp_path / "splits.yaml").write_text(
        "level: donor\nseed: 1\nfractions: {train: 0.6, val: 0.2, test: 0.2}\n"
        "donors:\n  train: [00246264, 1e5]\n  val: [yes]\n  test: [0246]\n"
    )
    expected = {"train": ["00246264", "1e5"], "val": ["yes"], "test": ["0246"]}
    assert expected == load_splits(tmp_path / "splits.yaml").units


def _edit(table, path, old, new):
    save_splits(make_splits(table, FRACTIONS), path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_load_refuses_a_donor_in_two_splits(tmp_path):
    """A donor copied by hand into a second split is named with both."""
    table = tabulate_even()
    donor = make_splits(table, FRACTIONS).units["train"][0]
    _edit(table, tmp_path / "s.yaml", "  test:\n", f"  test:\n  - {donor}\n")
    with pytest.raises(SplitError, match=rf"s\.yaml.*{donor} \(train and test\)"):
        load_splits(tmp_path / "s.yaml")


def test_load_refuses_a_donor_that_no_tile_has(tmp_path):
    """A misspelled donor leaves the true one in no split, which is named."""
    table = tabulate_even()
    _edit(table, tmp_path / "s.yaml", "- d03", "- 03")
    with pytest.raises(SplitError, match="in none: 'd03'"):
        load_splits(tmp_path / "s.yaml", table)
    with pytest.raises(SplitError, match="no labelled tile has: '03'"):
        load_splits(tmp_path / "s.yaml", table[table["donor"] != "d03"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "level: donor",
        "level: tile\nseed: 0\nfractions: {}\ndonors: {}",
        "a: [",
        "level: donor\nseed: x\nfractions: {}\ndonors: []",
    ],
)
def test_load_refuses_what_is_no_splits_file(tmp_path, text):
    """Whatever else is in the file, the error is a SplitError that names the file."""
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SplitError, match=r"s\.yaml"):
        load_splits(tmp_path / "s.yaml")


def test_splits_refuse_an_unknown_level(table):
    """Only donor and image are levels; nothing else falls back to one of them."""
    with pytest.raises(SplitError, match="got 'tile'"):
        make_splits(table, FRACTIONS, level="tile")


def test_splits_refuse_an_empty_split():
    """A split without donors is refused by name."""
    with pytest.raises(SplitError, match="val has none"):
        Splits("donor", 0, FRACTIONS, {"train": ["a"], "val": [], "test": ["b"]})


def test_tiles_carry_their_split_and_its_level(table):
    """Every tile gets the split of its donor; the table itself is not changed."""
    splits = make_splits(table, FRACTIONS, seed=2)
    tiles = splits.tiles(table)
    sides = {donor: name for name, donors in splits.units.items() for donor in donors}
    assert [sides[donor] for donor in table["donor"]] == tiles["split"].tolist()
    assert {"donor"} == set(tiles["split_level"])
    assert "split" not in table.columns


def test_tiles_of_image_level_splits_say_so(table):
    """The column split_level is image, so no score on them can pass for donor-level."""
    tiles = make_splits(table, FRACTIONS, level="image").tiles(table)
    assert {"image"} == set(tiles["split_level"])


def test_tiles_refuse_a_donor_in_no_split(table):
    """A tile of a new donor is refused, not dropped."""
    splits = make_splits(table, FRACTIONS)
    with pytest.raises(SplitError, match="in none: 'new'"):
        splits.tiles(pd.concat([table, tabulate([("new", "GFAP", 1)])]))


def test_tiles_may_be_fewer_than_the_splits_know(table):
    """The tiles of one marker can be placed although other donors then have none."""
    part = table[table["marker"] == "GFAP"]
    assert len(part) == len(make_splits(table, FRACTIONS).tiles(part))


def test_balance_counts_tiles_and_donors_of_every_split_and_marker():
    """Two tiles of one donor are two tiles and one donor; absent markers are rows of zero."""
    table = tabulate([("a", "GFAP", 2), ("b", "GFAP", 1), ("c", "NeuN", 3)])
    splits = Splits("donor", 0, FRACTIONS, {"train": ["a"], "val": ["b"], "test": ["c"]})
    expected = [
        ("train", "GFAP", 2, 1),
        ("train", "NeuN", 0, 0),
        ("val", "GFAP", 1, 1),
        ("val", "NeuN", 0, 0),
        ("test", "GFAP", 0, 0),
        ("test", "NeuN", 3, 1),
    ]
    found = describe_balance(splits, table)
    assert ["split", "marker", "n_tiles", "n_donors"] == list(found.columns)
    assert expected == list(found.itertuples(index=False, name=None))
