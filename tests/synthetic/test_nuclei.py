import numpy as np
from scipy import ndimage

from somaflow.synthetic.nuclei import draw_nuclei


def draw(seed: int, shape: tuple[int, int] = (256, 256)) -> tuple[np.ndarray, np.ndarray]:
    return draw_nuclei(np.random.default_rng(seed), shape)


def test_nuclei_image_and_labels_have_the_promised_form() -> None:
    """An image is (2, Y, X) float32 in 0..1 and its labels (Y, X) uint32 numbered 1..N."""
    for seed in range(12):
        image, labels = draw(seed, (120, 200))
        assert (2, 120, 200) == image.shape
        assert np.float32 == image.dtype
        assert 0 <= image.min() and image.max() <= 1
        assert (120, 200) == labels.shape
        assert np.uint32 == labels.dtype
        assert list(range(labels.max() + 1)) == np.union1d([0], np.unique(labels)).tolist()


def test_nuclei_are_each_one_piece() -> None:
    """No nucleus is torn, even where they crowd."""
    for seed in range(20):
        _, labels = draw(seed)
        for label in range(1, int(labels.max()) + 1):
            assert 1 == ndimage.label(labels == label)[1]


def test_nuclei_depend_on_the_seed_alone() -> None:
    """The same seed gives the same image, another seed another one."""
    first, again, other = draw(3), draw(3), draw(4)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_nuclei_are_as_varied_as_the_fields_images() -> None:
    """Of 80 images some are empty, some crowded, and mean radii span from 6 to 14 px."""
    counts, radii = [], []
    for seed in range(80):
        _, labels = draw(seed)
        counts.append(int(labels.max()))
        if counts[-1]:
            areas = np.bincount(labels.ravel())[1:]
            radii.append(float(np.sqrt(np.median(areas) / np.pi)))
    assert 0 == min(counts)
    assert max(counts) > 100
    assert min(radii) < 6
    assert max(radii) > 14


def test_nuclei_are_brighter_than_what_lies_between() -> None:
    """In most images the nuclei stand out in one of the channels, and always they can be hard."""
    contrasts = []
    for seed in range(60):
        image, labels = draw(seed)
        if labels.any():
            inside, outside = image[:, labels > 0], image[:, labels == 0]
            gap = np.median(inside, axis=1) - np.median(outside, axis=1)
            contrasts.append(float((gap / (outside.std(axis=1) + 1e-3)).max()))
    assert np.median(contrasts) > 1
    assert np.quantile(contrasts, 0.05) > 0
