"""Images of cells, drawn or real, and what may be done to a copy of them."""

import io

import numpy as np
from PIL import Image
from scipy import ndimage


def draw_field(seed: int, shape: tuple[int, int] = (260, 347), n_cells: int = 60) -> np.ndarray:
    """(Y, X) uint8: round cells of several sizes on a noisy ground."""
    rng = np.random.default_rng(seed)
    plane = np.zeros(shape)
    plane[rng.integers(0, shape[0], n_cells), rng.integers(0, shape[1], n_cells)] = 1
    cells = ndimage.gaussian_filter(plane, 5) * 2e4 * rng.uniform(0.5, 1.5)
    return np.clip(cells + rng.normal(25, 3, shape), 0, 255).astype(np.uint8)


def draw_spots(seed: int, shape: tuple[int, int] = (512, 512)) -> np.ndarray:
    """(Y, X) uint8: a near-empty tile with one to four bright spots."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    plane = rng.normal(20, 3, shape)
    for _ in range(rng.integers(1, 5)):
        centre_y, centre_x = rng.integers(50, 460, 2)
        distance = (y - centre_y) ** 2 + (x - centre_x) ** 2
        plane += rng.uniform(60, 200) * np.exp(-distance / (2 * rng.uniform(8, 20) ** 2))
    return np.clip(plane, 0, 255).astype(np.uint8)


def recompress(plane: np.ndarray) -> np.ndarray:
    """The plane after JPEG compression."""
    content = io.BytesIO()
    Image.fromarray(plane).save(content, "JPEG", quality=50)
    return np.asarray(Image.open(content))


def bend(plane: np.ndarray, gamma: float) -> np.ndarray:
    """The plane with other contrast."""
    return (255 * (plane / 255.0) ** gamma).astype(np.uint8)


def add_noise(plane: np.ndarray) -> np.ndarray:
    """The plane with noise of a third of its own spread."""
    noise = np.random.default_rng(0).normal(0, max(plane.std() * 0.3, 2), plane.shape)
    return np.clip(plane + noise, 0, 255).astype(np.uint8)


def crop_halves(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two crops, shifted in y and x, that share half of their area."""
    dy, dx = (int(side * 0.2265) for side in plane.shape)
    height, width = plane.shape
    return plane[: height - dy, : width - dx], plane[dy:, dx:]


def make_versions(plane: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of planes that show one field, by what was done to them."""
    first, second = crop_halves(plane)
    return {
        "recompressed": (plane, recompress(plane)),
        "brighter": (plane, bend(plane, 0.6)),
        "darker": (plane, bend(plane, 1.5)),
        "noisy": (plane, add_noise(plane)),
        "shifted by half": (first, second),
        "shifted along x": (plane[:, : -plane.shape[1] // 3], plane[:, plane.shape[1] // 3 :]),
        "mirrored": (plane, plane[:, ::-1]),
        "turned": (plane, np.rot90(plane)),
        "all at once": (first, np.rot90(recompress(add_noise(bend(second, 0.7))))[:, ::-1]),
    }
