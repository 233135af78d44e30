import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.measure import regionprops_table

from somaflow.errors import LabelsError, TileError
from somaflow.features import measure_cells
from tests.bench.features import SKIMAGE_PROPERTIES, regionprops_frame

COLUMNS = [
    "label",
    "area_px",
    "centroid_y_px",
    "centroid_x_px",
    "bbox_min_y_px",
    "bbox_min_x_px",
    "bbox_max_y_px",
    "bbox_max_x_px",
    "axis_major_px",
    "axis_minor_px",
    "eccentricity",
    "perimeter_px",
    "solidity",
    *(f"{name}_{value}" for name in ("dapi", "marker") for value in ("mean", "std", "min", "max")),
]


def _assert_equals_skimage(labels: np.ndarray, image: np.ndarray) -> None:
    actual, expected = measure_cells(labels, image), regionprops_frame(labels, image)
    assert list(expected.columns) == list(actual.columns)
    for name in expected:
        # The minor axis of a line is 0; scikit-image's eigenvalue rounds to 1e-15 px2 instead,
        # whose root is 1e-7 px.
        atol = 1e-6 if name in ("axis_minor_px", "eccentricity") else 1e-9
        np.testing.assert_allclose(
            actual[name], expected[name], rtol=1e-9, atol=atol, err_msg=str(name)
        )


def _pixels(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, size=(2, *shape)).astype(dtype)


def _scattered(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Cells of many parts and single pixels, up to every border."""
    return np.where(rng.random(shape) < 0.15, rng.integers(1, 12, size=shape), 0)


def _crowded(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """No background at all: every pixel touches another cell, and cells have holes."""
    return rng.integers(1, 5, size=shape)


def _blobs(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Smooth connected cells, many cut by the border."""
    smooth = ndimage.gaussian_filter(rng.random(shape), rng.uniform(0.5, 3))
    return ndimage.label(smooth > np.median(smooth))[0]


def _lines(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Straight lines of one pixel's width in all directions, some with gaps."""
    labels = np.zeros(shape, dtype=int)
    for label in range(1, 9):
        step = rng.integers(-3, 4, size=2)
        points = rng.integers(0, shape, size=2) + np.arange(rng.integers(1, 12))[:, None] * step
        inside = ((points >= 0) & (points < shape)).all(axis=1)
        labels[tuple(points[inside].T)] = label
    return labels


@pytest.mark.parametrize("draw", [_scattered, _crowded, _blobs, _lines])
def test_measure_cells_equals_skimage_on_random_shapes(draw: object) -> None:
    """Every number of some thousand cells of any shape is scikit-image's."""
    rng = np.random.default_rng(7)
    n_cells = 0
    for _ in range(40):
        labels = draw(rng, tuple(rng.integers(5, 50, size=2)))  # type: ignore[operator]
        image = rng.normal(100, 30, size=(2, *labels.shape))
        _assert_equals_skimage(labels, image)
        n_cells += len(np.unique(labels[labels > 0]))
    assert n_cells > 100


@settings(deadline=None)
@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 3),
    ).filter(np.any)
)
def test_measure_cells_equals_skimage_on_small_images(labels: np.ndarray) -> None:
    """The smallest cells, where every border case is common, measure as in scikit-image."""
    _assert_equals_skimage(labels, _pixels(labels.shape))


def test_measure_cells_of_a_square_has_the_known_numbers() -> None:
    """A 10 x 10 square at (5, 20) of constant intensity has the numbers one can work out."""
    labels = np.zeros((40, 50), dtype=np.int32)
    labels[5:15, 20:30] = 3
    image = np.stack([np.full(labels.shape, 7), np.arange(50) * np.ones((40, 1))])
    axis = 4 * np.sqrt((100 - 1) / 12)
    spread = np.sqrt((100 - 1) / 12)
    expected = [3, 100, 9.5, 24.5, 5, 20, 15, 30, axis, axis, 0, 36, 1]

    actual = measure_cells(labels, image)
    assert list(actual.columns) == COLUMNS
    assert actual.iloc[0].tolist() == pytest.approx(
        [*expected, 7, 0, 7, 7, 24.5, spread, 20, 29], abs=1e-12
    )


def test_measure_cells_of_one_pixel_is_a_point() -> None:
    """One pixel has no axes and no perimeter, and is its own hull."""
    labels = np.zeros((3, 3), dtype=np.uint8)
    labels[0, 2] = 1

    row = measure_cells(labels, _pixels(labels.shape)).iloc[0]
    names = ["axis_major_px", "axis_minor_px", "eccentricity", "perimeter_px", "solidity"]
    assert row[names].tolist() == [0, 0, 0, 0, 1]


def test_measure_cells_of_a_line_has_no_minor_axis() -> None:
    """A diagonal of one pixel's width has minor axis 0 and eccentricity 1, exactly."""
    row = measure_cells(np.eye(9, dtype=int), _pixels((9, 9))).iloc[0]

    assert (row["axis_minor_px"], row["eccentricity"]) == (0, 1)


def test_measure_cells_keeps_exact_moments_far_from_the_origin() -> None:
    """A cell in the far corner of a large image has the axes it has at the origin."""
    cell = np.array([[0, 1, 1], [1, 1, 1], [1, 1, 0]], dtype=np.uint8)
    far = np.zeros((3000, 4000), dtype=np.uint8)
    far[-3:, -3:] = cell
    names = ["axis_major_px", "axis_minor_px", "eccentricity", "perimeter_px", "solidity"]

    expected = measure_cells(cell, np.ones((1, 3, 3)))[names]
    pd.testing.assert_frame_equal(
        expected, measure_cells(far, np.ones((1, *far.shape)))[names], check_exact=True
    )


def test_measure_cells_keeps_large_ids_and_sorts_by_label() -> None:
    """Ids with gaps and beyond 2**40 come back as they are, in ascending order."""
    labels = np.array([[2**45, 0, 9], [2**45, 0, 70_000_000]])

    actual = measure_cells(labels, _pixels(labels.shape))
    assert actual["label"].tolist() == [9, 70_000_000, 2**45]
    assert actual["area_px"].tolist() == [1, 1, 2]


@pytest.mark.parametrize("shape", [(6, 4), (0, 4), (4, 0)])
def test_measure_cells_of_empty_labels_has_the_columns(shape: tuple[int, int]) -> None:
    """No cell gives no row, with columns and dtypes as with cells, so that tables concatenate."""
    full = measure_cells(np.ones((2, 2), dtype=int), _pixels((2, 2)))

    actual = measure_cells(np.zeros(shape, dtype=np.uint16), _pixels(shape))
    assert len(actual) == 0
    pd.testing.assert_series_equal(full.dtypes, actual.dtypes)


@pytest.mark.parametrize(
    "dtype", ["uint8", ">u2", "int32", "uint64", "float16", "float32", ">f4", "longdouble"]
)
def test_measure_cells_takes_any_real_dtype(dtype: str) -> None:
    """The same values in any real dtype and byte order give the same table."""
    labels = np.kron(np.arange(6).reshape(2, 3), np.ones((5, 4), dtype=int)).astype(">u2")
    image = _pixels(labels.shape)

    expected = measure_cells(labels, image)
    pd.testing.assert_frame_equal(expected, measure_cells(labels, image.astype(dtype)))


def test_measure_cells_counts_true_pixels_of_a_boolean_channel() -> None:
    """The mean of a boolean channel is the share of its true pixels in the cell."""
    labels = np.ones((2, 2), dtype=int)
    image = np.array([[[True, False], [True, True]]])

    assert measure_cells(labels, image)["channel_0_mean"].tolist() == [0.75]


def test_measure_cells_leaves_its_inputs_alone() -> None:
    """Read-only, transposed inputs are measured and not written to."""
    labels, image = np.asfortranarray(np.tri(8, dtype=int)), _pixels((8, 8)).transpose(0, 2, 1)
    labels.flags.writeable = image.flags.writeable = False

    _assert_equals_skimage(labels, image)


@pytest.mark.parametrize(
    ("n_channels", "channel_names", "expected"),
    [
        (2, None, ["dapi", "marker"]),
        (1, None, ["channel_0"]),
        (3, None, ["channel_0", "channel_1", "channel_2"]),
        (1, ["IBA1"], ["IBA1"]),
        (0, None, []),
    ],
)
def test_measure_cells_names_channels(
    n_channels: int, channel_names: list[str] | None, expected: list[str]
) -> None:
    """Two channels are DAPI and marker, others are numbered, unless they are named."""
    image = np.ones((n_channels, 4, 4))

    actual = measure_cells(np.ones((4, 4), dtype=int), image, channel_names=channel_names)
    means = [name.removesuffix("_mean") for name in map(str, actual) if name.endswith("_mean")]
    assert means == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 4, 4), int), r"\(Y, X\) integers, got \(2, 4, 4\)"),
        (np.zeros((4, 4)), r"\(Y, X\) integers, got \(4, 4\) float64"),
        (np.zeros((4, 4), bool), "integers, got .*bool"),
        (np.full((4, 4), -2), "ids >= 0 that fit in int64, got -2"),
    ],
)
def test_measure_cells_refuses_what_is_not_labels(labels: np.ndarray, message: str) -> None:
    """Images, probability maps and negative ids are not label images."""
    with pytest.raises(LabelsError, match=message):
        measure_cells(labels, np.zeros((2, 4, 4)))


@pytest.mark.parametrize(
    ("image", "names", "message"),
    [
        (np.zeros((4, 4)), None, r"must be \(C, Y, X\).*pass image\[None\]"),
        (np.zeros((4, 4, 2)), None, r"must be \(C, 4, 4\).*move the channel axis first"),
        (np.zeros((2, 4, 5)), None, r"must be \(C, 4, 4\) like its labels, got \(2, 4, 5\)"),
        (np.zeros((2, 4, 4), complex), None, "real numbers a channel, got .*complex"),
        (np.zeros((2, 4, 4)), ["dapi"], "2 different names"),
        (np.zeros((2, 4, 4)), ["a", "a"], "2 different names"),
        (np.full((1, 4, 4), np.nan), None, "finite inside cells.*channel_0, cell 1"),
        (np.full((1, 4, 4), np.inf), None, "finite inside cells.*channel_0, cell 1"),
    ],
)
def test_measure_cells_refuses_an_image_that_does_not_fit(
    image: np.ndarray, names: list[str] | None, message: str
) -> None:
    """Wrong axes, shapes, dtypes, names and non-finite pixels are refused by name."""
    with pytest.raises(TileError, match=message):
        measure_cells(np.ones((4, 4), dtype=int), image, channel_names=names)


def test_measure_cells_ignores_non_finite_background() -> None:
    """Pixels outside every cell may be anything."""
    labels = np.array([[1, 0]])
    image = np.array([[[5.0, np.nan]]])

    assert measure_cells(labels, image)["channel_0_mean"].tolist() == [5]


def test_skimage_reference_covers_every_column() -> None:
    """The yardstick measures what we measure, so that no column goes unchecked."""
    labels = np.ones((3, 3), dtype=int)
    n_columns = len(regionprops_table(labels, np.ones((3, 3, 2)), properties=SKIMAGE_PROPERTIES))

    assert len(COLUMNS) == n_columns
