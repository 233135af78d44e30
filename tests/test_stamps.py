"""Stamps in files: there, and in nobody's way."""

import json
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet

from somaflow.errors import SchemaError
from somaflow.files import write_bytes
from somaflow.schema import CELLS, REPORT, TILES, make_stamp
from somaflow.stamps import check_file, encode_table, is_same, read_stamp, read_table, write_meta


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame({"tile_id": ["t1", "t2"], "area_px": [4, 9], "share": [0.5, None]})


def test_table_comes_back_as_pandas_would_give_it(table: pd.DataFrame, tmp_path: Path) -> None:
    """Columns, types and values are those of pandas' own file; the stamp lies beside them."""
    table.to_parquet(tmp_path / "plain.parquet", index=False)
    write_bytes(tmp_path / "ours.parquet", encode_table(TILES, table))
    expected = pd.read_parquet(tmp_path / "plain.parquet")
    pd.testing.assert_frame_equal(expected, read_table(TILES, tmp_path / "ours.parquet"))
    pd.testing.assert_frame_equal(expected, pd.read_parquet(tmp_path / "ours.parquet"))
    assert make_stamp(TILES) == read_stamp(tmp_path / "ours.parquet")


def test_file_without_a_stamp_is_read(table: pd.DataFrame, tmp_path: Path) -> None:
    """Release 0.1.0 wrote such tables."""
    table.to_parquet(tmp_path / "old.parquet", index=False)
    assert {} == read_stamp(tmp_path / "old.parquet")
    assert 2 == len(read_table(TILES, tmp_path / "old.parquet"))


def test_folder_of_old_and_new_tables_reads_as_one(table: pd.DataFrame, tmp_path: Path) -> None:
    """Users read all cells of a study as one folder, also one that two releases worked on."""
    table.to_parquet(tmp_path / "shard-00000.parquet", index=False)
    write_bytes(tmp_path / "shard-00001.parquet", encode_table(CELLS, table))
    assert ["t1", "t2", "t1", "t2"] == pd.read_parquet(tmp_path).tile_id.tolist()


def test_options_reach_the_writer_and_the_reader(table: pd.DataFrame, tmp_path: Path) -> None:
    """Row groups are of the size asked for, and columns may be chosen."""
    path = tmp_path / "one.parquet"
    write_bytes(path, encode_table(CELLS, table, row_group_size=1))
    assert 2 == parquet.ParquetFile(path).num_row_groups
    assert ["area_px"] == list(read_table(CELLS, path, columns=["area_px"]))


def test_equal_tables_give_equal_bytes(table: pd.DataFrame) -> None:
    """A shard that is done again by the same release is the same file."""
    assert encode_table(CELLS, table) == encode_table(CELLS, table.copy())


def test_who_wrote_a_file_does_not_make_it_another(table: pd.DataFrame, tmp_path: Path) -> None:
    """A file of another release that says the same is left as it is."""
    whole = table.drop(columns="share")
    whole.to_parquet(tmp_path / "t.parquet", index=False)
    assert is_same(tmp_path / "t.parquet", encode_table(TILES, whole))
    assert not is_same(tmp_path / "t.parquet", encode_table(TILES, whole.iloc[:1]))
    (tmp_path / "r.yaml").write_text("schema_version: 1\nsomaflow: 0.1.0\nname: a\n")
    assert is_same(tmp_path / "r.yaml", b"schema_version: 1\nsomaflow: 9.9\nname: a\n")
    assert is_same(tmp_path / "r.yaml", b"name: a\n")
    assert not is_same(tmp_path / "r.yaml", b"name: b\n")


def test_damaged_table_is_not_the_same(table: pd.DataFrame, tmp_path: Path) -> None:
    """It is written anew."""
    (tmp_path / "t.parquet").write_bytes(encode_table(TILES, table)[:-9])
    assert not is_same(tmp_path / "t.parquet", encode_table(TILES, table))


def test_report_carries_its_stamp_in_its_head(tmp_path: Path) -> None:
    """A meta tag gives it back; a page without one has none."""
    (tmp_path / "new.html").write_text(f"<head>\n{write_meta(REPORT)}\n</head>")
    (tmp_path / "old.html").write_text("<head></head>")
    expected = {name: str(value) for name, value in make_stamp(REPORT).items()}
    assert expected == read_stamp(tmp_path / "new.html")
    assert {} == read_stamp(tmp_path / "old.html")


def test_label_array_carries_its_stamp_in_its_attributes(tmp_path: Path) -> None:
    """Its zarr.json is read without zarr."""
    content = {"zarr_format": 3, "attributes": make_stamp(CELLS)}
    (tmp_path / "zarr.json").write_text(json.dumps(content))
    assert make_stamp(CELLS) == read_stamp(tmp_path / "zarr.json")


def test_absent_file_is_not_refused(tmp_path: Path) -> None:
    """There is nothing to misread."""
    check_file(TILES, tmp_path / "none.parquet")


def test_newer_table_is_refused(table: pd.DataFrame, tmp_path: Path, monkeypatch) -> None:
    """Before a single row is read."""
    monkeypatch.setattr(
        "somaflow.stamps.make_stamp", lambda kind: {"schema_version": 99, "somaflow": "9.9"}
    )
    write_bytes(tmp_path / "t.parquet", encode_table(TILES, table))
    monkeypatch.setattr(pd, "read_parquet", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(SchemaError, match=r"t\.parquet has 99, written by somaflow 9\.9"):
        read_table(TILES, tmp_path / "t.parquet")
