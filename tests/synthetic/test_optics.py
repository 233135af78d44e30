import numpy as np
import pytest

from somaflow.synthetic import optics


def test_field_changes_slowly_and_centres_on_zero() -> None:
    """Neighbouring pixels of a smooth field differ by far less than distant ones."""
    field = optics.draw_field(np.random.default_rng(0), (300, 200), scale_px=20)
    assert (300, 200) == field.shape
    assert np.float32 == field.dtype
    assert abs(field.mean()) < 0.2
    assert 0.4 < field.std() < 1.1
    assert np.abs(np.diff(field, axis=0)).max() < 0.5 * field.std()


def test_stretch_meets_its_nodes() -> None:
    """The interpolated image has the nodes' values where the nodes are."""
    nodes = np.arange(12, dtype=np.float32).reshape(3, 4)
    image = optics.stretch(nodes, (10, 15), 5.0)
    np.testing.assert_allclose(nodes[:2, :3], image[::5, ::5], atol=1e-6)


def test_exposure_has_the_variance_of_shot_and_read_noise() -> None:
    """At half of full scale and 200 photons the variance is 0.5 / 200 plus the read noise's."""
    light = np.full((400, 400), 0.5, dtype=np.float32)
    exposed = optics.expose(np.random.default_rng(0), light, 200.0, 0.02)
    assert abs(exposed.mean() - 0.5) < 0.001
    assert exposed.var() == pytest.approx(0.5 / 200 + 0.02**2, rel=0.03)


def test_exposure_clips_to_full_scale() -> None:
    """A camera shows nothing below 0 or above 1."""
    light = np.array([[-3.0, 9.0]], dtype=np.float32)
    exposed = optics.expose(np.random.default_rng(0), light, 1000.0, 0.0)
    assert [0.0, 1.0] == exposed[0].tolist()


def test_vignette_darkens_the_corners_by_its_strength() -> None:
    """The centre keeps its light and a corner loses `strength`."""
    vignette = optics.draw_vignette((101, 51), 0.3)
    assert vignette[50, 25] == pytest.approx(1.0)
    assert vignette[0, 0] == pytest.approx(0.7)


@pytest.mark.parametrize("n_specks", [0, 5])
def test_debris_covers_little_and_none_when_there_is_none(n_specks: int) -> None:
    """Specks are small: five of them light up less than a twentieth of the image."""
    debris = optics.draw_debris(np.random.default_rng(1), (128, 128), n_specks)
    assert (debris > 0.1).mean() < 0.05
    assert (n_specks > 0) == bool((debris > 0.1).any())


def test_fibres_and_glow_stay_near_their_stated_peaks() -> None:
    """Fibres peak about 1 at most and glow is brighter than nothing."""
    rng = np.random.default_rng(2)
    fibres = optics.draw_fibres(rng, (128, 160), 20, 1.2)
    assert 0.3 < fibres.max() < 2.5
    glow = optics.draw_glow(rng, (128, 160), 6, 12.0)
    assert 0.1 < glow.max() < 6
    assert (128, 160) == glow.shape
