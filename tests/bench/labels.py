"""Label images with a known number of cells, for comparisons and tests."""

import numpy as np


def make_ellipses(
    n_cells: int,
    shape: tuple[int, int] = (1024, 1024),
    radius_px: tuple[float, float] = (7.0, 15.0),
    seed: int = 0,
) -> np.ndarray:
    """Returns a (Y, X) int32 label image with exactly `n_cells` jittered, often touching ellipses.

    One cell lies in each field of a regular grid, so all centres survive overpainting.

    Args:
        n_cells: number of cells, labels 1..n_cells.
        shape: (Y, X) in px.
        radius_px: smallest and largest semi-axis.
        seed: of position, size and angle.
    """
    rng = np.random.default_rng(seed)
    height, width = shape
    n_columns = int(np.ceil(np.sqrt(n_cells * width / height)))
    n_rows = int(np.ceil(n_cells / n_columns))
    fields = rng.permutation(n_rows * n_columns)[:n_cells]
    labels = np.zeros(shape, dtype=np.int32)
    centres = []
    for label, field in enumerate(fields, start=1):
        y = (field // n_columns + rng.uniform(0.3, 0.7)) * height / n_rows
        x = (field % n_columns + rng.uniform(0.3, 0.7)) * width / n_columns
        _paint(labels, label, (y, x), rng.uniform(*radius_px, size=2), rng.uniform(0, np.pi))
        centres.append((int(y), int(x)))
    for label, centre in enumerate(centres, start=1):
        labels[centre] = label
    return labels


def jitter_labels(labels: np.ndarray, max_shift_px: int = 6, seed: int = 0) -> np.ndarray:
    """Returns a prediction for `labels`: each cell moved a little, one in ten lost, new ids.

    Args:
        labels: (Y, X) integers, 0 = background.
        max_shift_px: largest shift along each axis.
        seed: of shifts, losses and ids.
    """
    rng = np.random.default_rng(seed)
    predicted = np.zeros_like(labels)
    ids = np.unique(labels[labels > 0])
    new_ids = rng.permutation(ids.size) + 1
    cell_px = np.split(
        np.argsort(labels, axis=None, kind="stable")[(labels == 0).sum() :],
        np.cumsum(np.bincount(labels.ravel())[ids])[:-1],
    )
    for new_id, flat in zip(new_ids, cell_px, strict=True):
        if rng.random() < 0.1:
            continue
        y, x = np.unravel_index(flat, labels.shape)
        dy, dx = rng.integers(-max_shift_px, max_shift_px + 1, size=2)
        y, x = np.clip(y + dy, 0, labels.shape[0] - 1), np.clip(x + dx, 0, labels.shape[1] - 1)
        predicted[y, x] = new_id
    return predicted


def _paint(
    labels: np.ndarray,
    label: int,
    centre: tuple[float, float],
    radii_px: np.ndarray,
    angle: float,
) -> None:
    reach = int(np.ceil(radii_px.max()))
    top, left = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    window = labels[top : int(centre[0]) + reach + 2, left : int(centre[1]) + reach + 2]
    y, x = np.indices(window.shape, dtype=np.float64)
    y, x = y + top - centre[0], x + left - centre[1]
    along = (np.cos(angle) * y + np.sin(angle) * x) / radii_px[0]
    across = (np.cos(angle) * x - np.sin(angle) * y) / radii_px[1]
    window[along**2 + across**2 <= 1] = label
