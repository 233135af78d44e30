"""What a microscope and a tissue add to clean shapes: texture, glow, fibres, debris, blur, noise.

Everything works on float32 images (Y, X) in units of full scale (1 = the brightest a camera shows).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]


def draw_field(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Image:
    """A smooth random field of mean about 0 and standard deviation about 0.6 to 1.

    Args:
        rng: source of randomness.
        shape: (Y, X).
        scale_px: distance over which the field changes.

    Returns:
        (Y, X) float32.
    """
    counts = [int(np.ceil(size / scale_px)) + 2 for size in shape]
    return stretch(rng.standard_normal(counts, dtype=np.float32), shape, scale_px)


def stretch(nodes: Image, shape: tuple[int, int], scale_px: float) -> Image:
    """`nodes`, `scale_px` apart, smoothly interpolated to an image of `shape`.

    Quicker than `ndimage.zoom`, and unlike a matrix product the same bits on any number of cores.
    """
    top, y_share = _split_position(shape[0], scale_px)
    left, x_share = _split_position(shape[1], scale_px)
    y_share = y_share[:, None]
    rows = nodes[top] * (1 - y_share) + nodes[top + 1] * y_share
    image = np.take(rows, left, axis=1)
    image += (np.take(rows, left + 1, axis=1) - image) * x_share
    return image


def _split_position(size: int, scale_px: float) -> tuple[NDArray[np.intp], Image]:
    """For each pixel the node before it and the (eased) share of the node after it."""
    position = np.arange(size, dtype=np.float32) / np.float32(scale_px)
    before = position.astype(np.intp)
    share = (position - before).astype(np.float32)
    return before, (share * share * (3 - 2 * share)).astype(np.float32)


def draw_grain(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> Image:
    """Fine-grained texture of mean 0 and standard deviation 1: blurred white noise."""
    grain = blur(rng.standard_normal(shape, dtype=np.float32), sigma_px)
    return grain / max(float(grain.std()), 1e-6)


def blur(image: Image, sigma_px: float) -> Image:
    """`image` seen through a Gaussian point spread function; 3 sigma are kept."""
    if sigma_px < 0.3:
        return image
    return ndimage.gaussian_filter(image, sigma_px, truncate=3.0, mode="nearest")


def draw_glow(
    rng: np.random.Generator, shape: tuple[int, int], n_blobs: int, radius_px: float
) -> Image:
    """Out-of-focus light: `n_blobs` wide blobs of peak about 0.3 to 1.

    Drawn on every fourth pixel, since nothing in it is sharp.
    """
    coarse = np.zeros((shape[0] // 4 + 3, shape[1] // 4 + 3), dtype=np.float32)
    rows = rng.integers(0, coarse.shape[0], n_blobs)
    columns = rng.integers(0, coarse.shape[1], n_blobs)
    np.add.at(coarse, (rows, columns), rng.uniform(0.3, 1.0, n_blobs).astype(np.float32))
    sigma = max(radius_px / 4, 0.8)
    coarse = blur(coarse, sigma) * np.float32(2 * np.pi * sigma**2)
    return stretch(coarse, shape, 4.0)


def draw_fibres(
    rng: np.random.Generator, shape: tuple[int, int], n_fibres: int, width_px: float
) -> Image:
    """Long winding fibres of random brightness, peak about 0.2 to 1."""
    canvas = np.zeros(shape, dtype=np.float32)
    n_steps = int(0.7 * max(shape))
    turns = rng.normal(0, 0.06, (n_fibres, n_steps)).cumsum(axis=1)
    headings = rng.uniform(0, 2 * np.pi, (n_fibres, 1)) + turns
    starts = rng.uniform(-0.2, 1.0, (2, n_fibres, 1)) * np.array(shape)[:, None, None]
    rows = (starts[0] + np.sin(headings).cumsum(axis=1)).astype(np.intp)
    columns = (starts[1] + np.cos(headings).cumsum(axis=1)).astype(np.intp)
    light = np.repeat(rng.uniform(0.2, 1.0, (n_fibres, 1)).astype(np.float32), n_steps, axis=1)
    add_light(canvas, rows, columns, light)
    # A blurred line of height 1 peaks at 1 / (sqrt(2 pi) sigma); this restores the peak.
    return blur(canvas, width_px) * np.float32(np.sqrt(2 * np.pi) * width_px)


def add_light(
    canvas: Image, rows: NDArray[np.intp], columns: NDArray[np.intp], light: Image
) -> None:
    """Raises the pixels at `rows` and `columns` to `light`, in place; those outside are dropped."""
    inside = (rows >= 0) & (rows < canvas.shape[0]) & (columns >= 0) & (columns < canvas.shape[1])
    np.maximum.at(canvas, (rows[inside], columns[inside]), light[inside])


def draw_debris(rng: np.random.Generator, shape: tuple[int, int], n_specks: int) -> Image:
    """Bright specks of 0.7 to 3 px radius, peak about 0.3 to 1.2: dust, never a cell."""
    canvas = np.zeros(shape, dtype=np.float32)
    for _ in range(n_specks):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        sigma_y, sigma_x = rng.uniform(0.5, 2.2, 2)
        top, left = max(0, int(y) - 7), max(0, int(x) - 7)
        rows = np.arange(top, min(shape[0], int(y) + 8), dtype=np.float32)[:, None]
        columns = np.arange(left, min(shape[1], int(x) + 8), dtype=np.float32)[None, :]
        speck = np.exp(-(((rows - y) / sigma_y) ** 2) / 2 - ((columns - x) / sigma_x) ** 2 / 2)
        window = canvas[top : top + rows.shape[0], left : left + columns.shape[1]]
        window += np.float32(rng.uniform(0.3, 1.2)) * speck.astype(np.float32)
    return canvas


def draw_vignette(shape: tuple[int, int], strength: float) -> Image:
    """Light falling off towards the corners: 1 in the centre, 1 - `strength` in the corners."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return 1 - np.float32(strength / 2) * (y * y + x * x)


def expose(
    rng: np.random.Generator, light: Image, full_scale_photons: float, read_noise: float
) -> Image:
    """What the camera records: shot noise and read noise, clipped to 0..1.

    Shot noise is Gaussian with the Poisson variance, ten times quicker than drawing Poisson numbers
    and the same to the eye at the ten photons and more that a bright pixel collects.

    Args:
        rng: source of randomness.
        light: (Y, X) float32, 1 = full scale.
        full_scale_photons: photons that make 1.
        read_noise: standard deviation of the read noise, in full scales.

    Returns:
        (Y, X) float32 in 0..1.
    """
    light = np.maximum(light, 0)
    deviation = np.sqrt(light / np.float32(full_scale_photons) + np.float32(read_noise**2))
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(light + deviation * noise, 0, 1)
