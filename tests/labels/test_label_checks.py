"""What makes an array an instance label image, with every way in which it is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somaflow.errors import LabelsError
from somaflow.labels import check_labels
from somaflow.labels.checks import compact_labels


def make_grid(n_cells: int, dtype: type = np.uint16, pitch: int = 12) -> np.ndarray:
    """(Y, X) labels with `n_cells` squares of 6 x 6 px on a grid, numbered row by row."""
    side = int(np.ceil(np.sqrt(n_cells)))
    labels = np.zeros((side * pitch, side * pitch), np.int64)
    for number in range(n_cells):
        y, x = (pitch * place for place in divmod(number, side))
        labels[y + 2 : y + 8, x + 2 : x + 8] = number + 1
    return labels.astype(dtype)  # wraps for uint8, as numpy does when a user saves it


def assert_refused(labels: np.ndarray, *words: str, **options: object) -> None:
    with pytest.raises(LabelsError) as caught:
        check_labels(labels, "tile_7.tif", **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "tile_7.tif" in message
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("n_cells", [0, 1, 2, 100])
def test_labels_of_any_integer_type_and_number_are_legal(dtype: type, n_cells: int) -> None:
    """No cell, one cell and many cells pass in every integer type that holds the ids."""
    labels = make_grid(n_cells, dtype) if n_cells else np.zeros((20, 30), dtype)
    check_labels(labels, "tile", shape=labels.shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_as_floats_are_refused_even_if_whole(dtype: type) -> None:
    """Integer-valued floats are refused with the advice to save an integer type."""
    assert_refused(make_grid(4, dtype), "float", "save it as an integer type")


def test_labels_in_colour_are_refused() -> None:
    """An outline drawing or a colour picture of labels is no label image."""
    assert_refused(np.dstack([make_grid(4)] * 3), "(24, 24, 3) uint16", "outlines")


def test_labels_of_another_shape_are_refused_not_cropped() -> None:
    """Both shapes are named."""
    assert_refused(make_grid(4), "(24, 24)", "(25, 24)", "never cropped", shape=(25, 24))


def test_negative_labels_are_refused() -> None:
    """Ids below 0 are named."""
    labels = make_grid(4, np.int32)
    labels[0, 0] = -1
    assert_refused(labels, "-1")


def test_yes_or_no_labels_are_refused() -> None:
    """A bool array is a mask of cells, not their labels."""
    assert_refused(make_grid(4) > 0, "connected components")


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("n_cells", [2, 3, 133])
@pytest.mark.parametrize("allow_gaps", [False, True])
def test_binary_masks_are_refused_with_their_number_of_parts(
    value: int, n_cells: int, allow_gaps: bool
) -> None:
    """One value in separate parts is a binary mask, renumbered or not."""
    mask = np.where(make_grid(n_cells) > 0, value, 0).astype(np.uint8)
    assert_refused(mask, f"single value {value} in {n_cells} separate parts", allow_gaps=allow_gaps)


@pytest.mark.parametrize("n_cells", [257, 260, 547, 2000])
def test_ids_wrapped_in_uint8_are_refused(n_cells: int) -> None:
    """From 257 cells on some id occurs twice, and a single one is enough to tell."""
    wrapped = make_grid(n_cells, np.uint16).astype(np.uint8)
    assert_refused(wrapped, "uint8", "wrapped past 255")


def test_class_maps_are_refused() -> None:
    """Two classes in many parts each are no instances."""
    assert_refused(make_grid(100) % 2 + (make_grid(100) > 0), "2 of 2 ids occur in far-apart parts")


def test_a_cell_cut_in_two_by_the_edge_is_legal() -> None:
    """Two near parts of one label are what a crop leaves of a concave cell."""
    labels = np.zeros((20, 30), np.uint16)
    labels[0:10, 0:4] = labels[12:20, 0:4] = 1
    check_labels(labels, "tile")


def test_a_few_labels_in_far_parts_are_legal_among_many() -> None:
    """Up to a tenth of the ids may be in two far parts; beyond that it is not an instance image."""
    labels = make_grid(100)
    for number in range(1, 11):
        labels[labels == 100 - number] = number
    labels[labels == 100] = 90
    _, compact = compact_labels(labels)
    n_cells = int(compact.max())
    assert n_cells == 90
    assert_refused(compact, "10 of 90 ids")
    fewer = compact.copy()
    fewer[(fewer == 1) | (fewer == 2)] = 0
    check_labels(compact_labels(fewer)[1], "tile")


def test_ids_with_gaps_are_refused_with_the_way_out() -> None:
    """The number of cells, the largest id and the setting that renumbers them are named."""
    labels = make_grid(9) * 3
    assert_refused(labels, "9 cells", "largest id 27", "renumber_labels: true")
    check_labels(labels, "tile", allow_gaps=True)


@given(
    numbers=st.lists(st.integers(1, 2**40), min_size=1, max_size=9, unique=True),
    background=st.booleans(),
)
def test_compact_labels_keep_the_order_and_the_pixels(numbers: list[int], background: bool) -> None:
    """Any ids become 1..N in their order, with every pixel in the same cell as before."""
    labels = np.array([[0] * background + numbers] * 2, np.int64)
    ids, compact = compact_labels(labels)
    assert list(ids) == sorted(numbers)
    assert set(np.unique(compact)) - {0} == set(range(1, len(numbers) + 1))
    np.testing.assert_array_equal(np.concatenate([[0], ids])[compact], labels)
