"""What the donor statistics find of a study: what is there is used, what is missing is said."""

from pathlib import Path

import pandas as pd
import pytest

from somaflow.donors.inputs import audit_study, donors_key, find_inferences, read_study_traits
from somaflow.engine import SerialEngine
from somaflow.errors import StoreError
from somaflow.files import write_bytes
from somaflow.inference import infer_shard
from somaflow.inventory import discover_study
from somaflow.pending import find_pending
from somaflow.segmenter import ThresholdSegmenter
from somaflow.study import Study
from tests.inference.study_files import write_tiles


def make_study(folder: Path, **fields: object) -> Study:
    """Four tiles that e0-prepare has listed, in shards of two."""
    content = {
        "name": "s",
        "tiles": {"root": write_tiles(folder, 4, shapes=((64, 80),)), "layout": "manifest"},
        "output": folder / "output",
        "recipes": [{"name": "a", "model": "threshold"}, {"name": "b", "model": "tiny"}],
        "inference_recipe": "a",
        "shard_tiles": 2,
    }
    study = Study.model_validate(content | fields)
    table = discover_study(study)
    table.attrs = {}
    write_bytes(study.paths.tiles, table.to_parquet(index=False))
    return study


def segment(study: Study, *shards: int) -> None:
    """Commits these shards of the inference recipe."""
    pending = find_pending(study, "a")
    for shard in shards:
        infer_shard(
            study.paths, pending.inference.key, shard, pending.recipe,
            SerialEngine(lambda _: ThresholdSegmenter()), study.shard_tiles,
        )  # fmt: skip


def test_without_cells_there_are_no_donors(tmp_path: Path) -> None:
    """Nothing segmented: one clear line that names the flow to run."""
    with pytest.raises(StoreError, match="none is there; run e5-inference first"):
        find_inferences(make_study(tmp_path), [])


def test_unfinished_inference_is_used_and_said(tmp_path: Path) -> None:
    """One of two shards is committed: its tiles count, the gap and the absent baseline told."""
    study = make_study(tmp_path, compare_with=["b"])
    segment(study, 0)
    problems: list[str] = []
    assert ["a"] == list(find_inferences(study, problems))
    assert "a: 1 of 2 shards are not segmented" in problems[0]
    assert "b: no tile is segmented yet" in problems[1]


def test_missing_or_wrong_tables_are_a_line_each(tmp_path: Path) -> None:
    """No traits, a trait table without ids, a list of expected tiles that is none."""
    study = make_study(tmp_path)
    segment(study, 0, 1)
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n")
    settings = study.donor_statistics.model_copy(update={"expected_tiles": tmp_path / "bad.csv"})
    bad = study.model_copy(
        update={"traits": tmp_path / "bad.csv", "donor_statistics": settings},
    )
    problems: list[str] = []
    assert read_study_traits(study, problems) is None
    assert read_study_traits(bad, problems) is None
    key = find_inferences(study, problems)["a"]
    coverage = audit_study(study, key, _no_quality(), None, problems)
    assert coverage is not None and 4 == coverage.markers.n_found.sum()
    assert audit_study(bad, key, _no_quality(), None, problems) is None
    for line, word in zip(problems, ("names no trait table", "projid", "coverage: "), strict=True):
        assert word in line


def test_statistics_are_made_anew_where_a_file_or_setting_changes(tmp_path: Path) -> None:
    """The key moves with the trait table's content, the settings and the seed, not by itself."""
    traits = tmp_path / "traits.csv"
    traits.write_text("projid,nft\n1,2\n")
    study = make_study(tmp_path, traits=traits)
    features = {"a": Path("tile-features-x.parquet")}
    first = donors_key(study, features)
    assert first == donors_key(study, features)
    keys = {first, donors_key(study.model_copy(update={"seed": 5}), features)}
    settings = study.donor_statistics.model_copy(update={"min_tiles": 7})
    keys.add(donors_key(study.model_copy(update={"donor_statistics": settings}), features))
    traits.write_text("projid,nft\n1,3\n")
    keys.add(donors_key(study, features))
    assert 4 == len(keys)


def _no_quality() -> pd.DataFrame:
    return pd.DataFrame({"tile_id": pd.Series(dtype="str"), "passes": pd.Series(dtype=bool)})
