import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.filters import threshold_otsu

from somaflow.errors import BadInputError, TileError
from somaflow.synthetic.cells import draw_tile
from somaflow.synthetic.donors import draw_donor
from somaflow.tiles.quality import PERCENTILES, QualityLimits, judge_tiles, measure_quality

SHAPE = (320, 416)


def _tissue(density: float = 1.0, seed: int = 1) -> np.ndarray:
    """A synthetic tile, all of it tissue."""
    donor = draw_donor(0, 0)
    crowd = dict.fromkeys(donor.density_multipliers, density)
    donor = dataclasses.replace(donor, density_multipliers=crowd, cellularity=density)
    return draw_tile(np.random.default_rng(seed), "NeuN", donor, SHAPE)[0]


def _glass(seed: int = 2, noise: float = 2.0) -> np.ndarray:
    """An empty field: the camera's offset and its noise."""
    pixels = np.random.default_rng(seed).normal(4, noise, (2, *SHAPE))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """The tile out of focus, with fresh camera noise."""
    noise = np.random.default_rng(3).normal(0, 2, image.shape)
    smooth = ndimage.gaussian_filter(image.astype(float), (0, sigma_px, sigma_px))
    return np.clip(np.rint(smooth + noise), 0, 255).astype(np.uint8)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=16, max_side=20),
    ),
    st.lists(st.floats(0, 100), min_size=1, max_size=4, unique_by=lambda q: f"{q:g}"),
)
def test_percentiles_are_those_of_numpy(plane: np.ndarray, percentiles: list[float]) -> None:
    """Percentiles of the marker's pixels are numpy's linear ones, whatever the pixels."""
    quality = measure_quality(np.stack([plane, plane]), percentiles)
    expected = np.percentile(plane, percentiles)
    np.testing.assert_allclose([quality[f"marker_p{q:g}"] for q in percentiles], expected, 1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("seed", range(8))
def test_otsu_is_that_of_skimage(dtype: type, seed: int) -> None:
    """The marker's Otsu threshold is scikit-image's, of the full histogram."""
    rng = np.random.default_rng(seed)
    dim, bright = rng.gamma(3, 8, (64, 80)), rng.normal(150, 30, (64, 80))
    pixels = np.where(rng.random((64, 80)) < 0.2, bright, dim)
    scale = 1 if dtype is np.uint8 else 97.3
    plane = np.clip(pixels * scale, 0, np.iinfo(dtype).max).astype(dtype)
    assert threshold_otsu(plane) == measure_quality(np.stack([plane, plane]))["marker_otsu"]


def test_otsu_of_a_constant_marker_is_its_level() -> None:
    """A marker of one grey level has that level as threshold, so no cell lies above it."""
    assert 7 == measure_quality(np.full((2, 32, 32), 7, dtype=np.uint8))["marker_otsu"]


@pytest.mark.parametrize(
    ("dtype", "full", "elsewhere"),
    [("uint8", 255, 0), ("uint16", 4095, 0), ("uint16", 16383, 4095), ("uint16", 65535, 16383)],
)
def test_saturated_pixels_are_counted_at_the_cameras_ceiling(
    dtype: str, full: int, elsewhere: int
) -> None:
    """A square of 10 x 12 px at the ceiling is 120 px, and a lower ceiling is no longer one."""
    image = np.full((2, 40, 50), elsewhere, dtype=dtype)
    image[1, 5:15, 20:32] = full
    quality = measure_quality(image)
    assert 120 / 2000 == quality["marker_saturated_fraction"]
    assert 0 == quality["dapi_saturated_fraction"]


def test_tile_of_16_bit_below_every_ceiling_is_not_saturated() -> None:
    """The brightest pixel of a tile that stays below the ceiling is not saturated."""
    image = np.full((2, 40, 50), 3000, dtype=np.uint16)
    assert 0 == measure_quality(image)["dapi_saturated_fraction"]


def test_tissue_fraction_is_the_share_that_is_not_glass() -> None:
    """All tissue gives 1, half glass a half within a block, glass 0; dust on glass stays dust."""
    full, empty = _tissue(), _glass()
    half = full.copy()
    half[:, :, 208:] = empty[:, :, 208:]
    assert 1 == measure_quality(full)["tissue_fraction"]
    assert 0.5 == pytest.approx(measure_quality(half)["tissue_fraction"], abs=32 / 416)
    assert 0 == measure_quality(empty)["tissue_fraction"]
    dusty = empty.copy()
    dusty[:, 100:106, 200:206] = 200
    assert 0.02 > measure_quality(dusty)["tissue_fraction"]


def test_tissue_fraction_does_not_fall_with_cell_density() -> None:
    """Tissue with a twentieth of the cells is as much tissue, or density would correct itself."""
    assert 1 == measure_quality(_tissue(density=0.05))["tissue_fraction"]


@pytest.mark.parametrize("scale", [16, 64])
def test_tissue_and_focus_do_not_depend_on_the_bit_depth(scale: int) -> None:
    """The same tile in 12 or 14 bit has the same focus and the same tissue."""
    half = _tissue()
    half[:, :, 208:] = _glass()[:, :, 208:]
    expected = measure_quality(half)
    actual = measure_quality(half.astype(np.uint16) * scale)
    for name in ("dapi_focus", "marker_focus", "tissue_px"):
        assert expected[name] == pytest.approx(actual[name], rel=1e-5)


def test_focus_falls_with_blur_and_hardly_with_cells() -> None:
    """Blur of 1.5 px takes focus below the default limit; a fifth of the cells does not."""
    sharp, sparse = measure_quality(_tissue()), measure_quality(_tissue(density=0.2))
    blurred = measure_quality(_blurred(_tissue(), 1.5))
    for channel in ("dapi_focus", "marker_focus"):
        assert blurred[channel] < QualityLimits().min_relative_focus * sharp[channel]
        assert 0.5 < sparse[channel] / sharp[channel] < 2


def test_focus_of_a_flat_or_black_tile_is_0() -> None:
    """A tile without any detail has focus 0, also where its mean is 0."""
    assert 0 == measure_quality(np.zeros((2, 32, 32), dtype=np.uint8))["dapi_focus"]
    assert 0 == measure_quality(np.full((2, 32, 32), 9, dtype=np.uint8))["marker_focus"]


def test_measures_have_their_documented_names_and_sizes() -> None:
    """A tile's measures are named as documented, and count pixels of the whole tile."""
    quality = measure_quality(_tissue()[:, :301, :403])
    names = ["height_px", "width_px", "dapi_focus", "marker_focus", "dapi_saturated_fraction"]
    names += ["marker_saturated_fraction", "tissue_fraction", "tissue_px", "marker_median"]
    names += [*(f"marker_p{q}" for q in PERCENTILES), "marker_otsu"]
    assert names == list(quality)
    assert (301, 403, 301 * 403) == tuple(
        quality[name] for name in ("height_px", "width_px", "tissue_px")
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 32, 32), dtype=np.float32),
        np.zeros((3, 32, 32), dtype=np.uint8),
        np.zeros((32, 32), dtype=np.uint8),
        np.zeros((2, 15, 32), dtype=np.uint8),
    ],
)
def test_what_is_no_tile_is_refused(image: np.ndarray) -> None:
    """Floats, other channel counts and tiny tiles are refused with what was found."""
    with pytest.raises(TileError, match=r"got \("):
        measure_quality(image)


def _quality_table(**columns: list[object]) -> pd.DataFrame:
    n_tiles = len(next(iter(columns.values())))
    good = {"marker": "GFAP", "tissue_fraction": 1.0}
    good |= {f"{name}_focus": 1.0 for name in ("dapi", "marker")}
    good |= {f"{name}_saturated_fraction": 0.0 for name in ("dapi", "marker")}
    return pd.DataFrame({name: [value] * n_tiles for name, value in good.items()} | columns)


def test_judge_tiles_says_why_a_tile_fails() -> None:
    """Each tile beyond a limit is named with what was found and what was asked for."""
    quality = _quality_table(
        tissue_fraction=[1.0, 0.1, 1.0, 1.0, np.nan],
        marker_focus=[1.0, 1.0, 0.1, 1.0, np.nan],
        dapi_saturated_fraction=[0.05, 0.0, 0.0, 0.0501, np.nan],
    )
    judged = judge_tiles(quality)
    assert [
        "",
        "tissue_fraction 0.1 is below 0.25",
        "marker_relative_focus 0.1 is below 0.2",
        "dapi_saturated_fraction 0.0501 is above 0.05",
        "quality was not measured",
    ] == list(judged["why"])
    assert [True, False, False, False, False] == list(judged["passes"])


def test_judge_tiles_compares_focus_within_the_marker() -> None:
    """A stain whose tiles all have low focus passes; glass does not shift what is usual."""
    quality = _quality_table(
        marker=["GFAP"] * 5 + ["NeuN"] * 3,
        marker_focus=[9.0, 9.0, 1.0, 1.0, 1.1, 0.01, 0.01, 0.001],
        tissue_fraction=[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    )
    assert [False, False, True, True, True, True, True, False] == list(
        judge_tiles(quality)["passes"]
    )


def test_judge_tiles_takes_other_limits_and_refuses_missing_columns() -> None:
    """Limits of a study are used in place of the defaults; a table without measures is refused."""
    quality = _quality_table(tissue_fraction=[0.1])
    assert [True] == list(judge_tiles(quality, QualityLimits(min_tissue_fraction=0))["passes"])
    with pytest.raises(BadInputError, match="tissue_fraction"):
        judge_tiles(quality.drop(columns="tissue_fraction"))
