"""The audit: what leaks, and what does not."""

import pickle

import numpy as np
import pandas as pd
import pytest
import tifffile

from somaflow.errors import LeakageError
from somaflow.splits import FINDING_COLUMNS, Splits, audit_leakage, refuse_leakage
from tests.splits.fields import draw_field, recompress
from tests.splits.tables import FRACTIONS

N_TILES = 6


def make_study(donors=None):
    """Six tiles, two a split by donor, and their images by tile id."""
    donors = donors or list("abcdef")
    table = pd.DataFrame(
        {"tile_id": [f"t{i}" for i in range(N_TILES)], "donor": donors, "marker": "GFAP"}
    )
    images = {
        f"t{i}": np.stack([draw_field(10 + i), draw_field(50 + i, n_cells=20)])
        for i in range(N_TILES)
    }
    units = {"train": donors[:2], "val": donors[2:4], "test": donors[4:]}
    return table, Splits("donor", 0, FRACTIONS, units), images


def audit(table, splits, images):
    """The findings, with images instead of files."""
    return audit_leakage(table, splits, read=lambda row: images[row.tile_id])


def test_audit_finds_nothing_between_different_fields():
    """Different donors and fields give an empty table with all columns, and no refusal."""
    findings = audit(*make_study())
    assert list(FINDING_COLUMNS) == list(findings.columns)
    assert 0 == len(findings)
    refuse_leakage(findings)


def test_audit_finds_the_same_pixels_in_any_channel():
    """A DAPI plane that is the marker plane of a tile in another split is found, once."""
    table, splits, images = make_study()
    images["t4"] = np.stack([images["t4"][0], images["t0"][0]])
    (finding,) = audit(table, splits, images).itertuples(index=False)
    assert ("same pixels", "t0", "train", "t4", "test") == finding[:5]
    assert "DAPI of one is marker of the other" in finding.detail


def test_audit_finds_the_same_pixels_in_another_type():
    """Equal values count as equal pixels, whether kept as uint8 or uint16."""
    table, splits, images = make_study()
    images["t3"] = images["t1"].astype(np.uint16)
    assert {"same pixels"} == set(audit(table, splits, images)["kind"])


def test_audit_finds_near_duplicates():
    """A recompressed copy in another split is found, and the finding says in which channel."""
    table, splits, images = make_study()
    images["t5"] = np.stack([recompress(images["t2"][0]), images["t5"][1]])
    (finding,) = audit(table, splits, images).itertuples(index=False)
    assert ("near-duplicate", "t2", "val", "t5", "test") == finding[:5]
    assert finding.detail.startswith("DAPI planes correlate by")


def test_audit_reads_the_files_of_the_tile_table(tmp_path):
    """Without a reader of its own, the audit reads the tiles where the table says they lie."""
    table, splits, images = make_study()
    images["t4"][0] = images["t1"][0]
    for channel, name in enumerate(("dapi", "marker")):
        paths = [tmp_path / f"{tile_id}_{name}.tif" for tile_id in table["tile_id"]]
        for path, tile_id in zip(paths, table["tile_id"], strict=True):
            tifffile.imwrite(path, images[tile_id][channel])
        table[f"{name}_path"] = [str(path) for path in paths]
    (finding,) = audit_leakage(table.assign(status="ok"), splits).itertuples(index=False)
    assert ("same pixels", "t1", "train", "t4", "test") == finding[:5]


def test_audit_leaves_copies_within_a_split_alone():
    """Two views of one field on the same side leak nothing."""
    table, splits, images = make_study()
    images["t1"] = images["t0"].copy()
    assert 0 == len(audit(table, splits, images))


def test_audit_does_not_count_absent_channels():
    """Markers that are zero everywhere are equal without being a leak."""
    table, splits, images = make_study()
    for image in images.values():
        image[1] = 0
    assert 0 == len(audit(table, splits, images))


def test_audit_finds_one_donor_spelled_in_two_ways():
    """A donor that lost its leading zeros in a spreadsheet is still one donor."""
    study = make_study(["00246264", "b", "246264.0", "d", "e", "f"])
    (finding,) = audit(*study).itertuples(index=False)
    assert ("same donor", "t0", "train", "t2", "val") == finding[:5]
    assert "00246264, 246264.0" in finding.detail


def test_audit_lets_image_level_splits_cut_donors_but_not_pixels():
    """Image-level splits were chosen knowing that donors are cut; equal pixels are still found."""
    table, _, images = make_study()
    table["donor"] = ["a", "a", "a", "b", "b", "c"]
    units = {"train": ["t0", "t1"], "val": ["t2", "t3"], "test": ["t4", "t5"]}
    splits = Splits("image", 0, FRACTIONS, units)
    assert 0 == len(audit(table, splits, images))
    images["t4"] = images["t0"].copy()
    assert ["same pixels"] == sorted(set(audit(table, splits, images)["kind"]))


def test_audit_counts_the_tiles_of_a_donor_that_is_spelled_in_two_ways():
    """A donor written as 1 and 01 is one donor: one finding for its pair of splits."""
    table, splits, images = make_study(["1", "b", "01", "d", "e", "f"])
    findings = audit(table, splits, images)
    assert ["same donor"] == list(findings["kind"])
    assert "1 tiles in train and 1 in val" in findings["detail"][0]


def test_audit_says_nothing_of_donors_that_are_unknown():
    """Tiles without donor are not all of one donor."""
    table, _, images = make_study()
    units = {"train": ["t0", "t1"], "val": ["t2", "t3"], "test": ["t4", "t5"]}
    findings = audit(table.assign(donor=""), Splits("image", 0, FRACTIONS, units), images)
    assert 0 == len(findings)


def test_refusal_has_one_line_a_finding_and_says_what_to_do():
    """The error names tiles and splits of each finding, and survives a process border."""
    table, splits, images = make_study(["1", "b", "01", "d", "e", "f"])
    images["t4"] = images["t0"].copy()
    with pytest.raises(LeakageError) as caught:
        refuse_leakage(audit(table, splits, images))
    lines = str(caught.value).splitlines()
    assert "found 3 leaks" in lines[0]
    assert lines[1].startswith("same donor: t0 (train) and t2 (val)")
    assert all("t0 (train) and t4 (test)" in line and "remove" in line for line in lines[2:])
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301
