"""The parts of the scale run, on a dozen small tiles and without a server."""

from pathlib import Path

import pytest

from somaflow.errors import OutputError, StudyError
from somaflow.files import write_text
from somaflow.inventory import discover_study
from somaflow.paths import RunPaths
from somaflow.study import load_study
from somaflow.traits import load_codebook, match_donors, read_traits
from tests.scale import study as scale_study
from tests.scale.bare import infer_bare, same_bytes
from tests.scale.donors import add_traits
from tests.scale.study import check_disk, make_study
from tests.scale.summary import describe_run, tabulate
from tests.scale.totals import WrongTiles, check_tiles, find_key, measure_outputs
from tests.scale.watch import Taken, Watched, run_watched

N_TILES, N_DISTINCT, SHAPE = 12, 8, (64, 80)


@pytest.fixture(scope="module")
def inferred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 12 small tiles in shards of 5, segmented by the bare library calls."""
    folder = tmp_path_factory.mktemp("scale")
    path = make_study(folder / "study", N_TILES, SHAPE, N_DISTINCT)
    write_text(path, path.read_text().replace("shard_tiles: 64", "shard_tiles: 5"))
    study = load_study(path)
    tiles = discover_study(study)
    tiles.attrs = {}
    study.paths.write_current(study.paths.tiles, tiles.to_parquet(index=False))
    infer_bare(path, study.output, [0, 1, 2])
    return path


def test_study_has_the_tiles_asked_for_as_links(inferred: Path) -> None:
    """Twelve tiles of four markers are found and usable, in the pixels of eight."""
    tiles = discover_study(load_study(inferred))

    assert ["ok"] * N_TILES == tiles.status.tolist()
    assert {"GFAP", "NeuN", "IBA1", "OLIG2"} == set(tiles.marker)
    assert N_DISTINCT == len({Path(path).stat().st_ino for path in tiles.marker_path})


def test_totals_count_tiles_shards_cells_and_files(inferred: Path) -> None:
    """All counts are those of the records; every shard has a labels, a cells and a ledger file."""
    paths = load_study(inferred).paths
    key = find_key(paths)
    found, files = check_tiles(paths, key, N_TILES), measure_outputs(paths, key)

    assert (N_TILES, 3) == (found["tiles"], found["shards"])
    assert 3 == files["cells"]["files"]
    assert 3 + 1 == files["labels"]["files"]  # and zarr.json
    assert 3 + 3 == files["ledger"]["files"]  # and the plan, what it is, the claims


@pytest.mark.parametrize("what", ["missing", "twice", "study"])
def test_totals_notice_a_missing_and_a_double_tile(inferred: Path, what: str) -> None:
    """A lost record, a tile in two records and a plan without a tile of the study all fail."""
    paths = load_study(inferred).paths
    key = find_key(paths)
    kept = paths.record(key, 0).read_bytes()
    try:
        if what == "missing":
            paths.record(key, 0).unlink()
        elif what == "twice":
            paths.record(key, 0).write_bytes(paths.record(key, 1).read_bytes())
        with pytest.raises(WrongTiles):
            check_tiles(paths, key, N_TILES + (what == "study"))
    finally:
        paths.record(key, 0).write_bytes(kept)


def test_bare_calls_are_compared_by_their_records(inferred: Path, tmp_path: Path) -> None:
    """A second bare run leaves equal records; an altered one is noticed."""
    paths, bare = load_study(inferred).paths, RunPaths(tmp_path / "bare")
    key = find_key(paths)
    seconds = infer_bare(inferred, bare.output, [0, 1])

    assert 2 == len(seconds)
    assert same_bytes(paths, bare, key, [0, 1])
    write_text(bare.record(key, 1), "{}")
    assert not same_bytes(paths, bare, key, [0, 1])


def test_disk_is_checked_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little disk is one error with both sizes; a folder in use is refused too."""
    monkeypatch.setattr(scale_study, "_BYTES_A_TILE", 10**15)
    with pytest.raises(OutputError, match=r"GB free; free space"):
        check_disk(tmp_path, [150])
    write_text(tmp_path / "used/file", "")
    with pytest.raises(StudyError, match="new folder"):
        make_study(tmp_path / "used", 4)


def test_phases_are_read_from_what_a_run_prints() -> None:
    """Two workers, three shards of 4 s: starts, ends and the wait between two shards add up."""
    done = "64 tiles, 9 cells, 0 quarantined in 4.0 s on"
    lines = [(5.0, "Beginning flow run 'x'"), (6.0, "Inference k: 0 of 3 shards done, 3 to do")]
    lines += [(12.0, f"{done} 0"), (12.0, f"{done} 1"), (16.5, f"{done} 0")]
    run = describe_run(Watched(20.0, lines, {"flow": Taken(1, 9), "server": Taken(1, 8)}, 2.0))

    assert {
        "wall_s": 20.0, "start_s": 5.0, "plan_s": 1.0, "cluster_s": 2.0, "work_s": 8.5,
        "stop_s": 3.5, "busy_s": 12.0, "shard_s": 4.0, "idle_s_per_shard": 0.5,
        "flow_cpu_s": 9, "server_cpu_s": 8,
    } == run  # fmt: skip


def test_table_has_a_column_a_size() -> None:
    """Figures of a size without a value of another stay apart; text and flags are left out."""
    rows = [{"found": {"tiles": 1}, "a": {"b_s": 2.0}}, {"found": {"tiles": 10}, "a": {}}]
    table = tabulate(rows).set_index("figure")

    assert ["1 tiles", "10 tiles"] == list(table)
    assert ["2", "-"] == table.loc["a b_s"].tolist()


def test_donor_statistics_have_traits_and_two_recipes(tmp_path: Path) -> None:
    """The study's 69 donors all have traits, and a second recipe segments their tiles."""
    path = make_study(tmp_path / "study", N_TILES, SHAPE, N_DISTINCT)
    add_traits(path)
    study = load_study(path)

    assert ["stand-in", "stand-in-large"] == study.inference_recipes
    assert study.traits is not None
    traits = read_traits(study.traits, load_codebook(), study.donor_statistics.traits)
    match = match_donors(discover_study(study).donor, traits.table.donor)
    assert ([], 69) == (list(match.without_traits), traits.table.donor.nunique())


def test_watched_command_is_timed_and_a_failed_one_raises(tmp_path: Path) -> None:
    """What it printed and its memory are kept; a failure quotes its words."""
    run = run_watched("--version")
    assert run.find("somaflow ") and run.wall_s > 0
    with pytest.raises(RuntimeError, match="study must be a YAML file"):
        run_watched("status", tmp_path / "none.yaml")
