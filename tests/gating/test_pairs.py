"""What is measured of a tile for the sweep over gates."""

import io

import numpy as np
import pandas as pd
import pytest

from somaflow.errors import ScoringError, TileError
from somaflow.gating import measure_gate_pairs, sweep_gates
from somaflow.recipes import Gate
from tests.gating.tables import TILE, measure


def _tile() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cell of 16 px found with 8 of them and 4 beside, a lost cell, and a stray one of 4 px."""
    reference, labels = np.zeros((10, 10), dtype=np.uint16), np.zeros((10, 10), dtype=np.uint32)
    reference[1:5, 1:5], reference[8:, :2] = 3, 5
    labels[1:3, 1:7], labels[6:8, 6:8] = 9, 2
    image = np.zeros((2, 10, 10), dtype=np.uint8)
    image[1][labels == 9], image[1][labels == 2] = 40, 20
    return reference, labels, image


def test_measured_cells_are_known_by_construction() -> None:
    """Areas, mean marker and partners are those of the squares drawn."""
    table = measure_gate_pairs(*_tile(), [0.5, 0.9], 0.3, TILE)
    cells, tile = table.cells, table.tiles.iloc[0]

    assert [2, 9] == cells.label.tolist()
    assert [4, 12] == cells.area_px.tolist()
    assert [20.0, 40.0] == cells.marker_mean.tolist()
    assert [[], [3]] == cells.reference_labels.tolist()
    assert [[], [8 / 20]] == cells.ious.tolist()
    assert (2, 2, 0.3) == (tile.n_reference, tile.n_predicted, tile.iou_threshold)
    assert (0.0, 40.0) == (tile["marker_q_0.5"], tile["marker_q_0.9"])


def test_measured_tables_begin_with_the_tile() -> None:
    """Both name tile, donor, marker and split; other columns of the tile are left out."""
    table = measure_gate_pairs(*_tile(), [], 0.5, TILE)
    names = ["tile_id", "donor", "marker", "split", "split_level"]

    for frame in (table.cells, table.tiles):
        assert names == list(frame)[:5]
        assert ["t0", "d0", "GFAP", "val", "donor"] == frame.iloc[0][names].tolist()
        assert "n_cells" not in frame


def test_measured_tables_survive_parquet() -> None:
    """A sweep over what was read back is the sweep over what was written, empty tiles included."""
    gates = [Gate(), Gate(min_area_px=5), Gate(min_marker_quantile=0.9)]
    reference, labels, image = _tile()
    empty = (reference, np.zeros_like(labels), image)
    parts = [measure(_tile(), gates, 0.3), measure(empty, gates, 0.3, tile_id="t1")]
    tables = [
        pd.concat(frames) for frames in zip(*[(p.cells, p.tiles) for p in parts], strict=True)
    ]
    read = []
    for frame in tables:
        content = io.BytesIO()
        frame.to_parquet(content, index=False)
        read.append(pd.read_parquet(content))

    expected = sweep_gates(*tables, gates, 0.3)
    assert [1, 1, 1, 0, 0, 0] == expected.tp.tolist()
    pd.testing.assert_frame_equal(expected, sweep_gates(*read, gates, 0.3))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"iou_threshold": 0}, ScoringError, r"in \(0, 1\], got 0"),
        ({"image": np.zeros((10, 10))}, TileError, r"got \(10, 10\) for tile t0"),
        ({"image": np.zeros((3, 10, 10))}, TileError, r"got \(3, 10, 10\)"),
        ({"image": np.full((2, 10, 10), np.nan)}, TileError, "found NaN"),
        ({"labels": np.zeros((10, 10))}, ScoringError, "predicted must be"),
        ({"reference": np.zeros((9, 10), dtype=int)}, ScoringError, "one shape"),
    ],
)
def test_measure_refuses_what_does_not_fit(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    """Each error says what does not fit."""
    names = ("reference", "labels", "image")
    arguments = dict(zip(names, _tile(), strict=True)) | {"iou_threshold": 0.5} | change

    with pytest.raises(error, match=message):
        measure_gate_pairs(**arguments, gate_quantiles=[0.5], tile=TILE)  # type: ignore[arg-type]
