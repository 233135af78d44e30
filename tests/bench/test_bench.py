import json
from pathlib import Path

import numpy as np
import pytest
import segment_anything
import torch

from somaflow.evaluation import count_matches
from somaflow.segmenter import load_net
from somaflow.segmenter.fused import fuse_net
from tests.bench import gpu, run
from tests.bench.counting import bench_count_matches
from tests.bench.features import bench_measure_cells
from tests.bench.gpu import extrapolate, longest_kernels
from tests.bench.labels import jitter_labels, make_ellipses
from tests.bench.standin import build_standin
from tests.small_sam import build_small_sam

ROW = {"name", "ours_s", "theirs_s", "ratio", "equal", "theirs"}


@pytest.mark.parametrize("bench", [bench_count_matches, bench_measure_cells])
def test_bench_returns_a_row_of_equal_results(bench: object) -> None:
    """A comparison on a small tile has all fields, and both sides agree."""
    row = bench(n_cells=12, size_px=128)  # type: ignore[operator]

    assert set(row) == ROW
    assert row["equal"] is True


def test_run_benches_writes_one_json_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is a list with a row a comparison, each with the machine it ran on."""
    row = {"name": "a", "ours_s": 1.0, "theirs_s": 3.0, "ratio": 3.0, "equal": True, "theirs": "b"}
    monkeypatch.setattr(run, "BENCHES", {"a": lambda: row})

    run.run_benches(["a"], tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert [row | {"machine": run.describe_machine()}] == written
    assert {"cpu", "cores", "python", "libraries"} == set(written[0]["machine"])


@pytest.mark.parametrize("n_cells", [1, 17, 500])
def test_make_ellipses_makes_as_many_cells_as_asked(n_cells: int) -> None:
    """Touching cells may overpaint each other but never away."""
    labels = make_ellipses(n_cells, (512, 640))

    np.testing.assert_array_equal(np.unique(labels), np.arange(n_cells + 1))


def test_jitter_labels_is_a_middling_prediction() -> None:
    """Some cells match, some do not: a comparison on it exercises all counts."""
    reference = make_ellipses(200, (512, 512))

    counts = count_matches(reference, jitter_labels(reference))
    assert min(counts.tp, counts.fp, counts.fn) > 10


def test_comparison_that_has_become_slow_is_named() -> None:
    """Below its least ratio it fails, at it or without one it does not."""
    row = {"name": "measure_cells", "ratio": 19.9, "theirs": "regionprops_table"}

    (line,) = run.find_slow([row, {**row, "ratio": 20.0}, {**row, "name": "worker_memory"}])
    assert line.startswith("measure_cells must be 20 times as fast as regionprops_table, was 19.9")


def test_every_checked_comparison_exists() -> None:
    """None is left unchecked because it was renamed."""
    assert set(run.LEAST_RATIOS) <= set(run.BENCHES)


def test_longest_kernels_of_a_net_are_named() -> None:
    """At most as many as asked, the longest first."""
    net = load_net("tiny", "cpu")[0]

    spent = longest_kernels(net, batch_size=1, n_kernels=3)
    assert 3 == len(spent)
    assert any("conv" in name for name in spent)
    assert sorted(spent.values(), reverse=True) == list(spent.values())


@torch.inference_mode()
def test_encoder_of_the_standin_runs_by_itself_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU it is fused, and compiled with a batch of its own dtype; here around a small one."""
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_l", build_small_sam)
    net = build_standin("cpu")
    images = torch.rand(1, 3, 256, 256, dtype=net.dtype)
    fused = fuse_net(net.full)

    assert torch.bfloat16 == net.dtype == fused.dtype
    assert fused(images)[0].isfinite().all()
    assert torch.float32 == net(images)[0].dtype


def test_extrapolation_pays_for_filling_once() -> None:
    """With 0.5 s for filling and 0.25 s a tile, whatever was measured."""
    assert 0.5 + 0.25 * 1000 == extrapolate((4, 1.5), (16, 4.5), 1000)


@pytest.mark.long
def test_bench_of_a_gpu_runs_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried on the CPU around a small encoder, so that no minute of a GPU is lost to a mistake."""
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_l", build_small_sam)
    monkeypatch.setattr(gpu, "SHAPE", (256, 300))

    found = gpu.measure(n_tiles=8, n_theirs=2, n_workers=2, batch_size=4, device="cpu")
    assert found["ap90"] > 0.99
    assert found["same_bits_again"]
    assert found["cells_a_tile"] > 1
    assert not found["notes"]
    figures = ("net_alone_s", "net_busy_s", "ratio_to_stack", "minutes_for_14749_tiles_in_one_go")
    assert all(found[name] > 0 for name in figures)
