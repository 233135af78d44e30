import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from somaflow.errors import LabelsError, TileError
from somaflow.gating import gate_labels, keep_cells, marker_limits
from somaflow.recipes import Gate

QUANTILES = st.none() | st.floats(0, 1)


@st.composite
def gated_tiles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Gate]:
    """Labels, a marker image of any common dtype, and a gate with any limits on or off."""
    shape = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    labels = draw(hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 1, 2, 7, 900])))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    marker = draw(hnp.arrays(dtype, shape, elements=st.integers(0, 255)))
    areas = sorted(draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))
    quantiles = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    on = draw(st.tuples(*[st.booleans()] * 4))
    limits = [
        limit if is_on else None for limit, is_on in zip([*areas, *quantiles], on, strict=True)
    ]
    names = ["min_area_px", "max_area_px", "min_marker_quantile", "max_marker_quantile"]
    return labels, marker, Gate(**dict(zip(names, limits, strict=True)))


def _tile() -> tuple[np.ndarray, np.ndarray]:
    """Cells of 1, 4 and 16 px with marker 10, 20 and 30 on a background of 0, 100 px in all."""
    labels, marker = np.zeros((10, 10), dtype=np.int32), np.zeros((10, 10), dtype=np.uint8)
    for label, side, corner in ((5, 1, 0), (6, 2, 2), (9, 4, 5)):
        cell = (slice(corner, corner + side),) * 2
        labels[cell] = label
        marker[cell] = {5: 10, 6: 20, 9: 30}[label]
    return labels, marker


@pytest.mark.parametrize(
    ("gate", "kept"),
    [
        (None, [5, 6, 9]),
        (Gate(), [5, 6, 9]),
        (Gate(min_area_px=4), [6, 9]),
        (Gate(min_area_px=5), [9]),
        (Gate(max_area_px=4), [5, 6]),
        (Gate(max_area_px=3), [5]),
        (Gate(min_area_px=2, max_area_px=15), [6]),
        # 79 of 100 pixels are 0, one is 10, four are 20, sixteen are 30.
        (Gate(min_marker_quantile=0.5), [5, 6, 9]),
        (Gate(min_marker_quantile=0.82), [6, 9]),
        (Gate(min_marker_quantile=0.9), [9]),
        (Gate(max_marker_quantile=0.82), [5, 6]),
        (Gate(max_marker_quantile=0.5), []),
        (Gate(min_marker_quantile=0.82, min_area_px=10), [9]),
        (Gate(min_marker_quantile=0.82, max_area_px=10), [6]),
        (Gate(min_marker_quantile=0, max_marker_quantile=1), [5, 6, 9]),
    ],
)
def test_gate_labels_keeps_the_cells_within_the_limits(gate: Gate | None, kept: list[int]) -> None:
    """Cells at a limit stay, cells beyond it become background, ids stay as they are."""
    labels, marker = _tile()

    actual = gate_labels(labels, marker, gate)
    np.testing.assert_array_equal(actual, np.where(np.isin(labels, kept), labels, 0))
    assert actual.dtype == labels.dtype


@settings(deadline=None)
@given(gated_tiles())
def test_gate_labels_is_idempotent(tile: tuple[np.ndarray, np.ndarray, Gate]) -> None:
    """Gating twice removes nothing more."""
    labels, marker, gate = tile
    once = gate_labels(labels, marker, gate)

    np.testing.assert_array_equal(once, gate_labels(once, marker, gate))


@settings(deadline=None)
@given(gated_tiles())
def test_gate_labels_keeps_or_removes_whole_cells(
    tile: tuple[np.ndarray, np.ndarray, Gate],
) -> None:
    """Every cell is kept with all its pixels or removed with all of them; none is added."""
    labels, marker, gate = tile
    gated = gate_labels(labels, marker, gate)

    kept = np.unique(gated)
    np.testing.assert_array_equal(gated, np.where(np.isin(labels, kept), labels, 0))


@settings(deadline=None)
@given(gated_tiles())
def test_gate_labels_follows_the_rule_written_out(
    tile: tuple[np.ndarray, np.ndarray, Gate],
) -> None:
    """What is kept is what a plain loop over cells and limits keeps."""
    labels, marker, gate = tile
    expected = labels.copy()
    for label in np.unique(labels[labels > 0]):
        area, mean = (labels == label).sum(), marker[labels == label].astype(float).mean()
        limits = [
            (gate.min_area_px, lambda limit, area=area: area < limit),
            (gate.max_area_px, lambda limit, area=area: area > limit),
            (gate.min_marker_quantile, lambda q, mean=mean: mean < np.quantile(marker, q)),
            (gate.max_marker_quantile, lambda q, mean=mean: mean > np.quantile(marker, q)),
        ]
        if any(limit is not None and beyond(limit) for limit, beyond in limits):
            expected[labels == label] = 0

    np.testing.assert_array_equal(expected, gate_labels(labels, marker, gate))


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ),
    QUANTILES,
    QUANTILES,
)
def test_marker_limits_are_the_quantiles_of_numpy(
    marker: np.ndarray, low: float | None, high: float | None
) -> None:
    """The limits from a histogram are numpy's quantiles to the last bit, infinite where off."""
    if low is not None and high is not None:
        low, high = sorted((low, high))

    actual = marker_limits(marker, Gate(min_marker_quantile=low, max_marker_quantile=high))
    assert actual.low == (-np.inf if low is None else np.quantile(marker, low))
    assert actual.high == (np.inf if high is None else np.quantile(marker, high))


def test_keep_cells_is_the_rule_of_gate_labels() -> None:
    """A sweep from areas and means alone keeps the same cells as gating the image."""
    labels, marker = _tile()
    gate = Gate(min_area_px=2, max_marker_quantile=0.82)

    keep = keep_cells(
        np.array([1, 4, 16]), np.array([10.0, 20, 30]), gate, marker_limits(marker, gate)
    )
    expected = np.array([5, 6, 9])[keep]
    np.testing.assert_array_equal(expected, np.unique(gate_labels(labels, marker, gate))[1:])


def test_gate_labels_keeps_a_cell_of_one_constant_value() -> None:
    """Rounding in the mean of 0.1 + 0.1 + ... does not push a cell over the tile's maximum."""
    labels, marker = np.ones((9, 9), dtype=int), np.full((9, 9), 0.1)
    gate = Gate(min_marker_quantile=0, max_marker_quantile=1)

    np.testing.assert_array_equal(labels, gate_labels(labels, marker, gate))


@pytest.mark.parametrize("gate", [None, Gate(), Gate(min_area_px=100)])
def test_gate_labels_returns_a_copy(gate: Gate | None) -> None:
    """The labels passed in are never changed, nor shared with the result."""
    labels, marker = _tile()
    before = labels.copy()

    gate_labels(labels, marker, gate)[:] = 77
    np.testing.assert_array_equal(before, labels)


@pytest.mark.parametrize("shape", [(4, 4), (0, 4)])
def test_gate_labels_of_empty_labels_is_empty(shape: tuple[int, int]) -> None:
    """A tile without cells stays one."""
    labels = np.zeros(shape, dtype=np.uint8)

    actual = gate_labels(labels, labels, Gate(min_area_px=1, min_marker_quantile=0.5))
    np.testing.assert_array_equal(labels, actual)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int64", "uint32"])
def test_gate_labels_keeps_the_dtype_of_the_labels(dtype: str) -> None:
    """Labels of any integer dtype and byte order, read-only, come back in that dtype."""
    labels, marker = _tile()
    labels = labels.astype(dtype)
    labels.flags.writeable = False

    actual = gate_labels(labels, marker.astype(">u2"), Gate(min_area_px=5))
    assert actual.dtype == np.dtype(dtype)
    assert np.unique(actual).tolist() == [0, 9]


def test_gate_labels_refuses_a_marker_image_of_another_tile() -> None:
    """Labels and marker of different shapes do not belong together."""
    labels, marker = _tile()

    with pytest.raises(TileError, match=r"shape of its labels, got \(10, 9\) and \(10, 10\)"):
        gate_labels(labels, marker[:, :9], None)


def test_gate_labels_refuses_a_stack_of_channels() -> None:
    """The marker channel alone is asked for, not the two-channel tile."""
    labels, marker = _tile()

    with pytest.raises(TileError, match=r"got \(2, 10, 10\)"):
        gate_labels(labels, np.stack([marker, marker]), Gate(min_area_px=5))


def test_gate_labels_refuses_nan_under_a_marker_limit() -> None:
    """A NaN pixel makes every quantile NaN, which would keep or remove cells at random."""
    labels, marker = _tile()
    marker = marker.astype(float)
    marker[9, 0] = np.nan

    with pytest.raises(TileError, match="found NaN"):
        gate_labels(labels, marker, Gate(max_marker_quantile=0.9))


def test_gate_labels_refuses_what_is_not_labels() -> None:
    """A probability map cannot be gated."""
    _, marker = _tile()

    with pytest.raises(LabelsError, match=r"\(Y, X\) integers"):
        gate_labels(np.zeros((10, 10)), marker, None)
