"""Tests of the classical yardstick, on discs whose number is known by construction."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from somaflow.evaluation import count_matches
from tests.classical import METHODS, Method, choose, compare_with_nets, score_folds, score_methods

FOLDS_OF = ("one", "two")
PARAMETERS: dict[str, dict[str, float]] = {
    "Otsu + watershed": {"sigma_px": 1, "factor": 0.7, "radius_px": 6},
    "local threshold + watershed": {"sigma_px": 1, "n_sigmas": 6, "radius_px": 6},
    "LoG seeds + watershed": {"sigma_px": 1, "n_sigmas": 6, "blob_radius_px": 6},
}


def draw_discs(centres: list[tuple[int, int]], radius_px: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """An image (128, 128) of bright discs on noise, and its labels."""
    y, x = np.mgrid[:128, :128]
    labels = np.zeros((128, 128), dtype=np.uint16)
    for index, (row, column) in enumerate(centres, start=1):
        labels[(y - row) ** 2 + (x - column) ** 2 <= radius_px**2] = index
    noise = np.random.default_rng(0).normal(20, 2, labels.shape)
    return np.clip(noise + 100 * (labels > 0), 0, 255).astype(np.uint8), labels


def methods() -> Iterator[tuple[str, Method, dict[str, float]]]:
    """Each method with parameters that suit the discs."""
    for name, method in METHODS.items():
        yield name, method, PARAMETERS[name]


@pytest.mark.parametrize(("name", "method", "parameters"), list(methods()))
def test_method_finds_every_disc_and_nothing_else(
    name: str, method: Method, parameters: dict[str, float]
) -> None:
    """Well separated discs, one cut by the border, are all found, and nothing else is."""
    image, labels = draw_discs([(30, 30), (30, 90), (90, 30), (90, 90), (0, 60)])
    counts = count_matches(labels, method.segment(image, **parameters))
    assert (5, 0, 0) == (counts.tp, counts.fp, counts.fn)


@pytest.mark.parametrize(("name", "method", "parameters"), list(methods()))
def test_method_splits_two_touching_discs(
    name: str, method: Method, parameters: dict[str, float]
) -> None:
    """Two discs that overlap by a little are two cells."""
    image, labels = draw_discs([(60, 50), (60, 65)])
    counts = count_matches(labels, method.segment(image, **parameters))
    assert (2, 0, 0) == (counts.tp, counts.fp, counts.fn)


def test_choose_takes_the_best_pooled_f1() -> None:
    """The choice goes by counts summed over images, not by the mean over them."""
    counts = pd.DataFrame(
        {
            "choice": [0, 0, 1, 1],
            "tp": [1, 50, 0, 80],
            "fp": [0, 50, 1, 20],
            "fn": [0, 50, 1, 20],
        }
    )
    assert 1 == choose(counts)


def test_folds_score_test_blocks_with_what_was_chosen_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parameters of a fold do not depend on its test images, which alone are scored."""
    few = {name: Method(method.segment, one(PARAMETERS[name])) for name, method in METHODS.items()}
    otsu = "Otsu + watershed"
    grid = {"sigma_px": (1.0,), "factor": (0.7, 5.0), "radius_px": (6.0,)}
    monkeypatch.setattr("tests.classical.METHODS", few | {otsu: Method(few[otsu].segment, grid)})
    folds = {"one": {"train": ["a"], "val": ["b"], "test": ["c"]}}
    monkeypatch.setattr("tests.classical.FOLDS", folds)
    scored = score_folds(score_methods(write_table(tmp_path)))
    assert {"c"} == set(scored.donor)
    assert set(METHODS) == set(scored.method)
    (row,) = scored[scored.method == otsu].itertuples()
    # Factor 5 finds nothing; it would be the right choice for the empty reference of the test tile.
    assert "sigma_px 1, factor 0.7, radius_px 6" == row.parameters
    assert (0, 1, 0) == (row.tp, row.fp, row.fn)


def test_nets_are_compared_on_the_same_images_and_one_image_is_one_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is test in two folds counts twice and is resampled as one."""
    monkeypatch.setattr("tests.classical.METHODS", {"blobs": METHODS["LoG seeds + watershed"]})
    monkeypatch.setattr("tests.classical.FOLDS", {fold: {} for fold in FOLDS_OF})
    image = {"tile_id": "a", "donor": "b", "marker": "lab", "fn": 0}
    method = [{**image, "method": "blobs", "fold": fold, "tp": 1, "fp": 2} for fold in FOLDS_OF]
    net = {**image, "recipe": "generic", "split": "test", "tp": 1, "fp": 0}
    train = {**net, "tile_id": "c", "split": "train"}
    monkeypatch.setattr("tests.classical.read_counts", lambda _: pd.DataFrame([net, train]))
    table = compare_with_nets(pd.DataFrame(method), tmp_path)
    assert ["one", "two", "all"] == table.fold.tolist()
    assert [1, 1, 2] == table.n_images.tolist()
    assert [0.5, 0.5, 0.5] == table.f1_pooled_difference.tolist()  # 1 against 2 / (2 + 2)
    # A single image, however often scored, gives no interval.
    assert table.f1_pooled_difference_low.isna().all()


def one(parameters: dict[str, float]) -> dict[str, tuple[float, ...]]:
    """A grid of a single choice."""
    return {name: (value,) for name, value in parameters.items()}


def write_table(folder: Path) -> pd.DataFrame:
    """Three tiles of one disc each, of donors a, b and c; the reference of c is empty."""
    rows = []
    for donor in "abc":
        image, labels = draw_discs([(60, 60)])
        tifffile.imwrite(folder / f"{donor}.tif", image)
        tifffile.imwrite(folder / f"{donor}_masks.tif", labels * (donor != "c"))
        rows.append(
            {
                "tile_id": donor,
                "marker": "lab",
                "donor": donor,
                "dapi_path": str(folder / f"{donor}.tif"),
                "labels_path": str(folder / f"{donor}_masks.tif"),
            }
        )
    return pd.DataFrame(rows)
