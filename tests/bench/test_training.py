"""The comparison of an epoch of training."""

import pytest

from somaflow.segmenter import limit_threads
from tests.bench import training
from tests.bench.training import bench_train_epoch


def test_train_epoch_is_a_row_of_equal_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """On small tiles too the row has all fields, with memory, and the same weights."""
    limit_threads(1)
    monkeypatch.setattr(training, "_measure_peak_mb", lambda side, *_: {"ours": 1.0}.get(side, 2.0))

    row = bench_train_epoch(n_tiles=2, n_cells=6, side_px=96, n_epochs=3)

    fields = {"name", "ours_s", "theirs_s", "ratio", "equal", "theirs"}
    assert fields | {"ours_peak_mb", "theirs_peak_mb"} == set(row)
    assert row["equal"] is True
    assert (1.0, 2.0) == (row["ours_peak_mb"], row["theirs_peak_mb"])
